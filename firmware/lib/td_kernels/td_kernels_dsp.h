/* td_kernels_dsp.h: kernels for Cortex-M cores with the DSP extension. They compute the same bytes
 * as the portable kernels whose names they extend; compiler/lower/dsp.py checks what they demand of
 * a layer and packs its constants. */
#ifndef TD_KERNELS_DSP_H
#define TD_KERNELS_DSP_H
#include <stdint.h>

/* A block computes all channels of one or three pixels, from columns of int16.
 *
 * Inputs of a pixel stand in groups of four, as the words (k0, k2) and (k1, k3): the order in which
 * SXTB16 widens bytes; those of three pixels alternate word by word. `stream` holds, for each block of channels in turn, what the block reads, in the order of reading: biases,
 * weights, multipliers, and a byte a channel that is one less than its right shift.
 *   w8: a halfword is 256 * w1 + w0 of two channels. SMLAD with it sums 256 * A + B; SXTB16 makes
 *       w0 of it, with which SMLAD sums B.
 *   b8: a word is four weights of a channel, for sums that w8 cannot hold.
 *   w16: weights and biases are doubled, as SMMLAR wants the sums. */
struct td_block_dsp {
    const int32_t *stream;
    uint32_t stream_bytes;
    uint32_t groups;            /* of 4 inputs, of 8 for one pixel */
    int32_t zero_and_half;      /* 2 * out_zero + 1 */
};

/* Three pixels, two channels at a time. `out` holds each pixel's place; of pixels with the
 * same place the first remains. `relu`: no output is below out_zero. */
typedef void td_triple_dsp(const struct td_block_dsp *p, const uint32_t *column,
                           int8_t *const *out);
td_triple_dsp td_triple_w8_dsp, td_triple_w8_relu_dsp;
td_triple_dsp td_triple_b8_dsp, td_triple_b8_relu_dsp;
td_triple_dsp td_triple_w16_dsp, td_triple_w16_relu_dsp;

/* One pixel, four channels at a time. */
typedef void td_quad_dsp(const struct td_block_dsp *p, const uint32_t *column, int8_t *out);
td_quad_dsp td_quad_w8_dsp, td_quad_b8_dsp, td_quad_w16_dsp;

/* What the blocks leave to do: they write whole blocks of channels, clamped to int8. */
struct td_product_dsp {
    uint32_t rows, depth, channels;
    uint32_t padded_channels;   /* a multiple of the block's; if it is more, out goes via scratch */
    int16_t out_min, out_max;
    struct td_block_dsp block;
};

/* Widens `rows` times `count` bytes to groups of two words, as columns of one or three pixels hold
 * them; zeros fill a row's last group. Returns where the next group would stand. */
uint32_t *td_widen_1(uint32_t *to, const int8_t *from, uint32_t count, uint32_t rows,
                     uint32_t row_step);
uint32_t *td_widen_3(uint32_t *to, const int8_t *from, uint32_t count, uint32_t rows,
                     uint32_t row_step);

/* scratch: a column of three pixels, then their outputs where channels are padded. */
struct td_matmul_s8_dsp {
    struct td_product_dsp product;
    td_triple_dsp *triple;
};
void td_matmul_s8_dsp(const struct td_matmul_s8_dsp *p, const int8_t *in, int8_t *out,
                      void *scratch);

/* One row. scratch: a column, then the outputs where channels are padded. */
struct td_vector_s8_dsp {
    struct td_product_dsp product;
    td_quad_dsp *quad;
};
void td_vector_s8_dsp(const struct td_vector_s8_dsp *p, const int8_t *in, int8_t *out,
                      void *scratch);

/* CONV_2D without dilation, of pixels that are whole groups of 4 inputs. scratch as for
 * td_matmul_s8_dsp. `widen_three` writes the column of three windows side by side, or is NULL. */
struct td_conv_s8_dsp {
    struct td_window window;
    int8_t in_zero;
    void (*widen_three)(uint32_t *to, const int8_t *from, uint32_t channels, uint32_t row_step);
    struct td_matmul_s8_dsp matmul;
};
void td_conv_s8_dsp(const struct td_conv_s8_dsp *p, const int8_t *in, int8_t *out, void *scratch);

/* For 3x3 windows one position apart, whose inputs overlap; `channels` is a multiple of 4. */
void td_widen_3x3(uint32_t *to, const int8_t *from, uint32_t channels, uint32_t row_step);

/* CONV_2D without dilation, of other pixels. The rows below a line of outputs are copied with their
 * borders. The inputs of a window are, first, of each row as many as are whole groups, then what
 * the rows leave over. scratch: as for td_matmul_s8_dsp; from byte `strip` on, k_h copied rows of
 * `strip_row` bytes; then what is left over of a window. */
struct td_strip_conv_s8_dsp {
    struct td_window window;
    int8_t in_zero;
    uint32_t strip, strip_row;
    struct td_matmul_s8_dsp matmul;
};
void td_strip_conv_s8_dsp(const struct td_strip_conv_s8_dsp *p, const int8_t *in, int8_t *out,
                          void *scratch);

/* All channels, two at a time, of two tiles of four outputs side by side. `stream` holds for each
 * two channels the six positions' first sums, each before its weights, the words (k0, k2), (k1, k3)
 * of four inputs for one channel, then for the other; behind them for each channel its multiplier
 * and one less than its right shift. */
struct td_winograd_block_dsp {
    const int32_t *stream;
    uint32_t stream_bytes;
    uint32_t skip_bytes;        /* of the unrolled loop, in the first round of a position */
    uint32_t inputs_bytes;      /* of a position's three rows in the column */
    uint32_t gap_bytes;         /* from there to the next position's */
    uint32_t out_step;          /* bytes between outputs */
    int32_t zero_and_half;      /* 2 * out_zero + 1 */
};
typedef void td_winograd_tiles_dsp(const struct td_winograd_block_dsp *p, const uint32_t *column,
                                   int8_t *out0, int8_t *out1);
td_winograd_tiles_dsp td_winograd_any_dsp, td_winograd_relu_dsp;

/* CONV_2D 3x3, stride 1, without dilation; inputs a multiple of 4, outputs of 2. `tall` lines of
 * outputs are made together, from the left to the right. scratch: the column, [6 positions][tall + 2
 * rows][in_c words]; six pixels; the outputs of two tiles. */
struct td_winograd_s8_dsp {
    struct td_window window;
    int8_t in_zero;
    int16_t out_min, out_max;
    uint16_t tall;
    uint32_t position_words;
    td_winograd_tiles_dsp *tiles;
    struct td_winograd_block_dsp block;
};
void td_winograd_s8_dsp(const struct td_winograd_s8_dsp *p, const int8_t *in, int8_t *out,
                        void *scratch);

/* A line of one channel of a depthwise convolution. */
struct td_line_dsp {
    uint32_t row_offset[3];     /* 3x3: of each slot of the ring in the channel's weights, bytes */
    uint32_t pairs, odd;        /* outputs: 2 * pairs + odd */
    uint32_t out_step;          /* bytes between them */
    int32_t zero_and_half;      /* 2 * out_zero + 1 */
    uint32_t rows, k, stride;   /* the window: across lines, along them; its stride along them */
    uint32_t words;             /* of a row, for two outputs; words * rows is even */
    int16_t *weights;           /* room for 4 * words * rows of them, where not 3x3 */
};

/* Constants of a channel: 2 * bias, multiplier, then for 3x3 a word a row, (w0, w1, w2, -), with
 * one less than the right shift as the last byte of the first row; otherwise that number as a word,
 * then the weights as bytes, whole words of them. */
typedef void td_channel_dsp(const int32_t *constants, const uint32_t *plane, int8_t *out,
                            const struct td_line_dsp *p);
td_channel_dsp td_line_3x3_dsp, td_line_3x3_relu_dsp;
td_channel_dsp td_line_3x3_stride_2_dsp, td_line_3x3_stride_2_relu_dsp;
td_channel_dsp td_line_any_dsp;

/* Channels are a multiple of 4, each input channel has one output. A line runs along a row or a
 * column; steps are in bytes. scratch: 4 * rows * line_pairs words, then what `line` needs. */
struct td_depthwise_s8_dsp {
    uint32_t batches, in_bytes, out_bytes;
    uint32_t channels, channel_words;
    uint32_t in_lines, in_line_step, lines_before;  /* across: input, lines outside before it */
    uint32_t out_lines, out_line_step, line_stride;
    uint32_t inside, in_step, before, line_pairs;   /* along */
    uint8_t keeps;              /* 3x3: the ring keeps lines for the next line of outputs */
    int8_t in_zero;
    int16_t out_min, out_max;
    td_channel_dsp *line;
    const int32_t *constants;
    struct td_line_dsp shape;
};
void td_depthwise_s8_dsp(const struct td_depthwise_s8_dsp *p, const int8_t *in, int8_t *out,
                         void *scratch);

/* Four channels at a time of one position. `stream` holds for each four: their biases; if
 * `single`, the first tap's weights as bytes; of each further two taps the bytes of channels 0 and 1,
 * first tap, second tap, and those of channels 2 and 3; multipliers; a byte a channel that is one less
 * than its right shift. */
struct td_taps_dsp {
    const int32_t *stream;
    uint32_t stream_bytes;
    uint32_t skip_bytes;        /* of the unrolled pairs of taps */
    uint32_t single;
    int32_t zero_and_half;      /* 2 * out_zero + 1 */
};

/* One output for each of a multiple of 4 channels, at most 17 taps, all `step` bytes apart. scratch:
 * a window, where some reach outside the image. */
struct td_taps_depthwise_s8_dsp {
    struct td_window window;
    int8_t in_zero;
    int16_t out_min, out_max;
    uint32_t step;
    struct td_taps_dsp taps;
};
void td_taps_depthwise_s8_dsp(const struct td_taps_depthwise_s8_dsp *p, const int8_t *in, int8_t *out,
                              void *scratch);

/* ADD of equal shapes. b has the larger scale; a_right is 0 where a has the same one. */
struct td_add_s8_dsp {
    uint32_t elements;
    int32_t a_zero, b_zero;     /* shifted left by 21 and 20 */
    int32_t a_multiplier, a_round, a_right;     /* a_round: half of 1 << a_right */
    int32_t out_multiplier, out_c, out_down;    /* as td_output() takes them */
    int16_t out_min, out_max;
};
void td_add_s8_dsp(const struct td_add_s8_dsp *p, const int8_t *a, const int8_t *b, int8_t *out);

/* Pooling of channels that are a multiple of 4; averages of at most 255 positions. */
void td_average_pool_s8_dsp(const struct td_pool_int *p, const int8_t *in, int8_t *out);
void td_max_pool_s8_dsp(const struct td_pool_int *p, const int8_t *in, int8_t *out);

#endif

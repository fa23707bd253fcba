/* td_kernels_mve.h: kernels for Cortex-M cores with Helium (MVE). They compute the same bytes as the
 * portable kernels whose names they extend; compiler/lower/mve.py checks what they demand of a layer
 * and packs its constants. */
#ifndef TD_KERNELS_MVE_H
#define TD_KERNELS_MVE_H
#include <stdint.h>

/* A block computes all channels of one or two pixels, four channels at a time; the depth is read in
 * groups of 16 bytes, of which the last may reach over the pixel's end (there the weights are 0).
 *
 * `stream` holds, for each four channels in turn, what the block reads, in the order of reading:
 *   int32_t bias[4]; int8_t weights[groups][4][16]; int32_t multiplier[4]; int8_t minus_right[4];
 * with one channel's factor multiplier * 2^(minus_right - 31). */
struct td_block_mve {
    const int32_t *stream;
    uint32_t stream_bytes;
    uint32_t groups;
    int32_t out_zero, out_min, out_max;
};

/* Two pixels. `relu`: no output is below out_zero. */
typedef void td_pair_mve(const struct td_block_mve *p, const int8_t *in0, const int8_t *in1,
                         int8_t *out0, int8_t *out1);
td_pair_mve td_pair_any_mve, td_pair_relu_mve;

/* One pixel. */
void td_quad_mve(const struct td_block_mve *p, const int8_t *in, int8_t *out);

/* What the blocks leave to do: they write whole fours of channels. */
struct td_product_mve {
    uint32_t depth, channels;
    uint32_t padded_channels;       /* a multiple of 4; if it is more, out goes via scratch */
    struct td_block_mve block;
};

/* Rows of `depth` bytes that begin `step` bytes apart and may overlap: a pointwise convolution, or
 * one whose window is as wide as the image. scratch: the last row where its last group is not full,
 * then the outputs of two rows where channels are padded. */
struct td_matmul_s8_mve {
    uint32_t rows, step;
    struct td_product_mve product;
    td_pair_mve *pair;
};
void td_matmul_s8_mve(const struct td_matmul_s8_mve *p, const int8_t *in, int8_t *out,
                      void *scratch);

/* One row; scratch likewise. */
struct td_vector_s8_mve {
    struct td_product_mve product;
};
void td_vector_s8_mve(const struct td_vector_s8_mve *p, const int8_t *in, int8_t *out,
                      void *scratch);

/* `tall` windows below one another share a strip [rows][k_w][in_c], in which each of them is one
 * piece. scratch: the strip of `strip_bytes`, which whole groups may be read from anywhere, then
 * the outputs of two pixels where channels are padded. Dilation is 1. */
struct td_conv_s8_mve {
    struct td_window window;
    int8_t in_zero;
    uint16_t tall;
    uint32_t strip_bytes;
    struct td_product_mve product;
    td_pair_mve *pair;
};
void td_conv_s8_mve(const struct td_conv_s8_mve *p, const int8_t *in, int8_t *out, void *scratch);

/* The same for any dilation: two windows are gathered, each to whole groups. scratch: these, then the
 * outputs of two pixels where channels are padded. `product` and `pair` as above. */
struct td_patch_conv_s8_mve {
    struct td_window window;
    int8_t in_zero;
    struct td_product_mve product;
    td_pair_mve *pair;
};
void td_patch_conv_s8_mve(const struct td_patch_conv_s8_mve *p, const int8_t *in, int8_t *out,
                          void *scratch);

/* DEPTHWISE_CONV_2D, one output a channel. A word holds four rows of one column and channel, so
 * ceil(k_h / 4) * k_w of them make a window; four are a group, as 16 bytes of depth above.
 *
 * For a part of an output row and 16 channels, columns are spread to words [k_h / 4][x][16]; then
 * each output gathers its words, which lie at `offset`, four a group. `stream` holds blocks as in
 * td_block_mve. scratch: 16 bytes, the words, and outputs of `span` pixels where the channels are not
 * whole fours. */
struct td_line_mve {
    const uint32_t *offset;
    uint32_t offset_bytes;
    int32_t out_zero, out_min, out_max;
};

/* `pixels` outputs of `fours` * 4 channels; words advance by `step` bytes a pixel, out by
 * `out_step`. `relu`: no output is below out_zero; `one`: windows are one group. */
typedef void td_depthwise_line_mve(const struct td_line_mve *p, const void *words, int8_t *out,
                                   const int32_t *stream, uint32_t fours, uint32_t pixels,
                                   uint32_t step, uint32_t out_step);
td_depthwise_line_mve td_depthwise_line_one_any_mve, td_depthwise_line_one_relu_mve;
td_depthwise_line_mve td_depthwise_line_any_mve, td_depthwise_line_relu_mve;

struct td_depthwise_s8_mve {
    struct td_window window;
    int8_t in_zero;
    uint16_t span;                  /* output pixels of a part */
    uint32_t layer_bytes;           /* of words for four rows, or of all for a column */
    uint32_t stream_step;           /* words of 16 channels */
    const int32_t *stream;
    struct td_line_mve line;
    td_depthwise_line_mve *run;
};
void td_depthwise_s8_mve(const struct td_depthwise_s8_mve *p, const int8_t *in, int8_t *out,
                         void *scratch);

/* The same for images of one column. There words begin at every row; those of a window are four
 * rows apart. */
void td_depthwise_column_s8_mve(const struct td_depthwise_s8_mve *p, const int8_t *in, int8_t *out,
                                void *scratch);

/* ADD of two tensors of one shape. b's scale is the larger one: in the reference's fixed point it is
 * b * b_scale + b_offset, exactly; a is (a * a_scale + a_offset) * a_multiplier * 2^(a_minus_right -
 * 31), rounded twice. `relu`: no output is below out_zero. */
struct td_add_s8_mve {
    uint32_t elements;
    int32_t a_offset, b_offset;
    int32_t a_multiplier, a_minus_right;
    int32_t out_multiplier, out_minus_right;
    int32_t out_zero;
    int32_t a_scale, b_scale;
    int32_t out_min, out_max;
};
void td_add_s8_mve(const struct td_add_s8_mve *p, const int8_t *a, const int8_t *b, int8_t *out);
void td_add_relu_s8_mve(const struct td_add_s8_mve *p, const int8_t *a, const int8_t *b,
                        int8_t *out);

/* Pooling and means, several channels at a time. */
void td_average_pool_s8_mve(const struct td_pool_int *p, const int8_t *in, int8_t *out);
void td_max_pool_s8_mve(const struct td_pool_int *p, const int8_t *in, int8_t *out);
void td_mean_s8_mve(const struct td_mean_int *p, const int8_t *in, int8_t *out);

#endif

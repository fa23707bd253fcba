/* td_kernels_packed.h: products for cores without SIMD, where one multiplication serves more than
 * one pixel. They compute the same bytes as the portable kernels whose names they extend;
 * compiler/lower/packed.py checks what they demand of a layer and packs its constants.
 *
 * Inputs x, y, z of three pixels stand in a column as two words, x + 2^21 z and y + 2^10 z, modulo
 * 2^32. Multiplied with a weight and summed they give two sums, X + 2^21 Z and Y + 2^10 Z, from
 * which X, Y and Z follow exactly while X and Y fit 21 bits and Z fits 22: see td_packed.h. Four
 * multiplications become 2.67, without any widening or splitting inside the loop. */
#ifndef TD_KERNELS_PACKED_H
#define TD_KERNELS_PACKED_H
#include <stdint.h>

/* What makes outputs of sums times 4; see td_packed.h. */
struct td_scale_packed {
    const int32_t *factors;     /* [channels][2]: 4 * bias, multiplier */
    const int8_t *right;        /* right shift behind the multiplication, at least 1 */
    int16_t out_zero, out_min, out_max;
};

struct td_product_packed {
    uint32_t rows, depth, channels;
    uint32_t part_depth;        /* inputs of which a sum fits 21 bits; at most depth */
    const int8_t *weights;      /* [groups of 4 channels][depth][4], the last group padded */
    struct td_scale_packed scale;
};

/* scratch: a column, 8 * depth bytes. */
struct td_matmul_s8_packed {
    struct td_product_packed product;
};
void td_matmul_s8_packed(const struct td_matmul_s8_packed *p, const int8_t *in, int8_t *out,
                         void *scratch);

/* scratch: a column, then three times the inputs of one row of the window (of one tap if it is
 * dilated along the row). */
struct td_conv_s8_packed {
    struct td_window window;
    int8_t in_zero;
    struct td_product_packed product;
};
void td_conv_s8_packed(const struct td_conv_s8_packed *p, const int8_t *in, int8_t *out,
                       void *scratch);

/* One row, of whose inputs each meets every weight once: nothing to pack. `weights` as those of
 * td_matmul_s8, but the last group is padded; `rows` is not used. */
void td_vector_s8_packed(const struct td_matmul_s8 *p, const int8_t *in, int8_t *out);

/* One output channel for each input channel. Channel by channel, the image is packed to a plane
 * that holds a third of a strip of output rows in each field; the sums take its place.
 * scratch: (third - 1) * stride_h + reach_h rows of (out_w - 1) * stride_w + reach_w pairs of
 * words, where reach = (k - 1) * dilation + 1. */
struct td_depthwise_s8_packed {
    struct td_window window;
    uint16_t third;             /* output rows; three times as many are a strip */
    int8_t in_zero;
    const int8_t *weights;      /* [channels][k_h][k_w] */
    struct td_scale_packed scale;
};
void td_depthwise_s8_packed(const struct td_depthwise_s8_packed *p, const int8_t *in, int8_t *out,
                            void *scratch);

/* ADD of two tensors of one shape; with the parameters of td_add_s8_dsp. */
void td_add_s8_packed(const struct td_add_s8_dsp *p, const int8_t *a, const int8_t *b,
                      int8_t *out);

#endif

/* td_kernels.h: the operators of the aot engine, in portable C11.
 *
 * Each kernel takes its constant parameters, its tensors and, where it says so, scratch memory.
 * Tensors are dense, channels last (NHWC), and aligned to 16 bytes; nothing is allocated, no state
 * is kept. Integer kernels compute exactly what TFLite-Micro's reference kernels compute; float
 * kernels sum in one fixed order, so that every core gives the same bits (-ffp-contract=off).
 *
 * Suffixes: s8 is int8, s16 is int16 activations with int8 weights, f32 is float. */
#ifndef TD_KERNELS_H
#define TD_KERNELS_H
#include <stdint.h>

/* ---- parameters that several kernels share */

/* A window that slides over an image. Positions outside the image count as zero. */
struct td_window {
    uint16_t batches;
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t k_h, k_w;
    uint16_t stride_h, stride_w;
    uint16_t dilation_h, dilation_w;
    uint16_t pad_top, pad_left;
};

/* accumulator -> output: a fixed-point multiplication a channel, the zero point, the clamp.
 * Channel c uses entry c & channel_mask: all ones for one scale a channel, 3 for a single scale,
 * of which the tables hold four copies. `down` is 1 less than the right shift behind the
 * multiplication, see td_requantize(). */
struct td_scale {
    const int32_t *multiplier;
    const int8_t *down;
    uint16_t channel_mask;
    int16_t out_zero;
    int16_t out_min, out_max;
};

/* accumulator -> output for int16: as TFLite-Micro does, with a factor of only 16 bits behind a
 * 64-bit accumulator. `right` is the right shift, at least 1. */
struct td_scale_s16 {
    const int16_t *multiplier;
    const uint8_t *right;
    uint16_t channel_mask;
    int16_t out_min, out_max;
};

/* Two operands read with strides, in elements; 0 repeats an operand along that dimension. */
struct td_broadcast {
    uint16_t size[4];
    uint32_t a_stride[4];
    uint32_t b_stride[4];
};

/* ---- matrix products: FULLY_CONNECTED, CONV_2D */

/* rows x depth times depth x channels. Weights: as many whole groups of 4 channels as there are,
 * [group][depth][4], then the remaining channels, [channel][depth]. */
struct td_matmul_s8 {
    uint32_t rows, depth, channels;
    const int8_t *weights;
    const int32_t *bias;            /* bias - in_zero * sum of the channel's weights */
    struct td_scale scale;
};
void td_matmul_s8(const struct td_matmul_s8 *p, const int8_t *in, int8_t *out);

/* The same order of weights. Zero points are 0, so the bias is the model's own. */
struct td_matmul_s16 {
    uint32_t rows, depth, channels;
    const int8_t *weights;
    const int64_t *bias;
    struct td_scale_s16 scale;
};
void td_matmul_s16(const struct td_matmul_s16 *p, const int16_t *in, int16_t *out);

struct td_matmul_f32 {
    uint32_t rows, depth, channels;
    const float *weights;
    const float *bias;
    float out_min, out_max;
};
void td_matmul_f32(const struct td_matmul_f32 *p, const float *in, float *out);

/* CONV_2D: each window is gathered into `patch` (k_h * k_w * in_c elements) and multiplied.
 * rows of `product` is not used. */
struct td_conv_s8 {
    struct td_window window;
    int8_t in_zero;
    struct td_matmul_s8 product;
};
void td_conv_s8(const struct td_conv_s8 *p, const int8_t *in, int8_t *out, int8_t *patch);

struct td_conv_s16 {
    struct td_window window;
    struct td_matmul_s16 product;
};
void td_conv_s16(const struct td_conv_s16 *p, const int16_t *in, int16_t *out, int16_t *patch);

struct td_conv_f32 {
    struct td_window window;
    struct td_matmul_f32 product;
};
void td_conv_f32(const struct td_conv_f32 *p, const float *in, float *out, float *patch);

/* DEPTHWISE_CONV_2D. Weights [k_h][k_w][out_c]; out_c = in_c * multiplier. `scratch` holds an
 * int32_t for each of the k_h * k_w taps, then one pixel of in_c elements if the window reaches
 * over the border anywhere. It lies in the same arena as `in`. */
struct td_depthwise_s8 {
    struct td_window window;
    uint16_t multiplier;
    int8_t in_zero;
    const int8_t *weights;
    const int32_t *bias;            /* bias - in_zero * sum of the channel's weights */
    struct td_scale scale;
};
void td_depthwise_s8(const struct td_depthwise_s8 *p, const int8_t *in, int8_t *out,
                     void *scratch);

struct td_depthwise_s16 {
    struct td_window window;
    uint16_t multiplier;
    const int8_t *weights;
    const int64_t *bias;
    struct td_scale_s16 scale;
};
void td_depthwise_s16(const struct td_depthwise_s16 *p, const int16_t *in, int16_t *out,
                      void *scratch);

struct td_depthwise_f32 {
    struct td_window window;
    uint16_t multiplier;
    const float *weights;
    const float *bias;
    float out_min, out_max;
};
void td_depthwise_f32(const struct td_depthwise_f32 *p, const float *in, float *out, void *scratch);

/* ---- pooling and reductions; in_c == out_c */

struct td_pool_int {
    struct td_window window;
    int16_t out_min, out_max;
};
void td_average_pool_s8(const struct td_pool_int *p, const int8_t *in, int8_t *out);
void td_average_pool_s16(const struct td_pool_int *p, const int16_t *in, int16_t *out);
void td_max_pool_s8(const struct td_pool_int *p, const int8_t *in, int8_t *out);
void td_max_pool_s16(const struct td_pool_int *p, const int16_t *in, int16_t *out);

struct td_pool_f32 {
    struct td_window window;
    float out_min, out_max;
};
void td_average_pool_f32(const struct td_pool_f32 *p, const float *in, float *out);
void td_max_pool_f32(const struct td_pool_f32 *p, const float *in, float *out);

/* MEAN over the middle of [outer][reduced][inner]; the division is in the multiplier. */
struct td_mean_int {
    uint32_t outer, reduced, inner;
    int32_t zero_sum;               /* in_zero * reduced */
    int32_t multiplier;
    int8_t down;
    int16_t out_zero;
};
void td_mean_s8(const struct td_mean_int *p, const int8_t *in, int8_t *out);
void td_mean_s16(const struct td_mean_int *p, const int16_t *in, int16_t *out);

struct td_mean_f32 {
    uint32_t outer, reduced, inner;
};
void td_mean_f32(const struct td_mean_f32 *p, const float *in, float *out);

/* ---- element by element; `in` and `out` may be the same */

struct td_add_int {
    struct td_broadcast shape;
    int16_t a_zero, b_zero, out_zero;
    int16_t out_min, out_max;
    uint8_t left_shift;
    int8_t a_down, b_down, out_down;
    int32_t a_multiplier, b_multiplier, out_multiplier;
};
void td_add_s8(const struct td_add_int *p, const int8_t *a, const int8_t *b, int8_t *out);
void td_add_s16(const struct td_add_int *p, const int16_t *a, const int16_t *b, int16_t *out);

struct td_mul_int {
    struct td_broadcast shape;
    int16_t a_zero, b_zero, out_zero;
    int16_t out_min, out_max;
    int8_t down;
    int32_t multiplier;
};
void td_mul_s8(const struct td_mul_int *p, const int8_t *a, const int8_t *b, int8_t *out);
void td_mul_s16(const struct td_mul_int *p, const int16_t *a, const int16_t *b, int16_t *out);

struct td_binary_f32 {
    struct td_broadcast shape;
    float out_min, out_max;
};
void td_add_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);
void td_mul_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);

/* QUANTIZE between integers, RELU: another scale, then a clamp. */
struct td_requantize {
    uint32_t elements;
    int32_t multiplier;
    int16_t in_zero, out_zero;
    int16_t out_min, out_max;
    int8_t down;
};
void td_requantize_s8(const struct td_requantize *p, const int8_t *in, int8_t *out);
void td_requantize_s16(const struct td_requantize *p, const int16_t *in, int16_t *out);
void td_requantize_s8_s16(const struct td_requantize *p, const int8_t *in, int16_t *out);
void td_requantize_s16_s8(const struct td_requantize *p, const int16_t *in, int8_t *out);

/* QUANTIZE and DEQUANTIZE between float and integers. */
struct td_affine {
    uint32_t elements;
    float scale;
    int32_t zero;
};
void td_quantize_s8(const struct td_affine *p, const float *in, int8_t *out);
void td_quantize_s16(const struct td_affine *p, const float *in, int16_t *out);
void td_dequantize_s8(const struct td_affine *p, const int8_t *in, float *out);
void td_dequantize_s16(const struct td_affine *p, const int16_t *in, float *out);

/* RELU6 with equal scales; RELU and RELU6 of floats. */
struct td_clamp_int {
    uint32_t elements;
    int16_t out_min, out_max;
};
void td_clamp_s8(const struct td_clamp_int *p, const int8_t *in, int8_t *out);
void td_clamp_s16(const struct td_clamp_int *p, const int16_t *in, int16_t *out);

struct td_clamp_f32 {
    uint32_t elements;
    float out_min, out_max;
};
void td_clamp_f32(const struct td_clamp_f32 *p, const float *in, float *out);

/* Any function of one int8: table[q + 128]. LOGISTIC. */
struct td_lookup_s8 {
    uint32_t elements;
    const int8_t *table;
};
void td_lookup_s8(const struct td_lookup_s8 *p, const int8_t *in, int8_t *out);

/* LOGISTIC of int16: the input times multiplier / 2^shift is 24 * 2^9 a unit; table[i] is
 * sigmoid(i / 24) in Q0.16, between its entries a straight line. */
struct td_logistic_s16 {
    uint32_t elements;
    int32_t multiplier;
    uint8_t shift;
    const uint16_t *table;          /* 256 */
};
void td_logistic_s16(const struct td_logistic_s16 *p, const int16_t *in, int16_t *out);

struct td_elements {
    uint32_t elements;
};
void td_logistic_f32(const struct td_elements *p, const float *in, float *out);

/* SOFTMAX over the last dimension. Differences to the row's maximum below `diff_min` count as 0. */
struct td_softmax_s8 {
    uint32_t rows, depth;
    int32_t multiplier;
    uint8_t left_shift;
    int32_t diff_min;
};
void td_softmax_s8(const struct td_softmax_s8 *p, const int8_t *in, int8_t *out);

/* Both tables have 513 entries over the int16 range: exp of [-10, 0], and 1 / (1 + x) of [0, 1]. */
struct td_softmax_s16 {
    uint32_t rows, depth;
    int32_t multiplier;
    int8_t down;
    const int16_t *exp_table;
    const int16_t *reciprocal_table;
};
void td_softmax_s16(const struct td_softmax_s16 *p, const int16_t *in, int16_t *out);

struct td_softmax_f32 {
    uint32_t rows, depth;
    float beta;
};
void td_softmax_f32(const struct td_softmax_f32 *p, const float *in, float *out);

/* ---- moving bytes: every type */

/* `rows` blocks of `bytes`, at their own distance in source and destination. CONCATENATION. */
struct td_copy {
    uint32_t rows, bytes;
    uint32_t in_stride, out_stride;
};
void td_copy(const struct td_copy *p, const void *in, void *out);

/* PAD: `before` and `after` count elements of `element_bytes`; the fill is one element. */
struct td_pad {
    uint16_t in_size[5];
    uint16_t before[5], after[5];
    uint8_t element_bytes;
    uint8_t fill[4];
};
void td_pad(const struct td_pad *p, const void *in, void *out);

#include "td_kernels_coded.h"
#include "td_kernels_dsp.h"
#include "td_kernels_packed.h"
#include "td_kernels_mve.h"

/* ---- more families */
#include "td_kernels_images.h"
#include "td_kernels_math.h"
#include "td_kernels_move.h"
#include "td_kernels_recurrent.h"
#include "td_kernels_reduce.h"

#endif

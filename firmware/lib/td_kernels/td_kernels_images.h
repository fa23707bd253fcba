/* td_kernels_images.h: more kernels for images and matrices; part of td_kernels.h. */
#ifndef TD_KERNELS_IMAGES_H
#define TD_KERNELS_IMAGES_H
#include <stdint.h>

/* CONV_2D in groups: output channel c sees in_c / groups inputs, those of its group.
 * Weights [out_c][k_h][k_w][in_c / groups]; positions outside the image are left out. */
struct td_grouped_s8 {
    struct td_window window;
    uint16_t groups;
    int16_t in_zero;
    const int8_t *weights;
    const int32_t *bias;            /* the model's own: what is outside takes no zero point */
    struct td_scale scale;
};
void td_grouped_conv_s8(const struct td_grouped_s8 *p, const int8_t *in, int8_t *out);

struct td_grouped_s16 {
    struct td_window window;
    uint16_t groups;
    int16_t in_zero;
    const int8_t *weights;
    const int64_t *bias;
    struct td_scale_s16 scale;
};
void td_grouped_conv_s16(const struct td_grouped_s16 *p, const int16_t *in, int16_t *out);

struct td_grouped_f32 {
    struct td_window window;
    uint16_t groups;
    int16_t in_zero;
    const float *weights;
    const float *bias;
    float out_min, out_max;
};
void td_grouped_conv_f32(const struct td_grouped_f32 *p, const float *in, float *out);

/* TRANSPOSE_CONV: each output gathers what every window spreads to it; strides and paddings are
 * those of the convolution from out to in. The same structs, with groups 1. */
void td_transpose_conv_s8(const struct td_grouped_s8 *p, const int8_t *in, int8_t *out);
void td_transpose_conv_s16(const struct td_grouped_s16 *p, const int16_t *in, int16_t *out);
void td_transpose_conv_f32(const struct td_grouped_f32 *p, const float *in, float *out);

/* BATCH_MATMUL: a [rows][depth] times b [depth][columns], in up to three loops of batches; strides
 * in elements, so that either operand may be transposed or repeated. */
struct td_batch_shape {
    uint32_t batches[3], a_batch[3], b_batch[3];
    uint32_t rows, columns, depth;
    uint32_t a_row, a_column, b_row, b_column;
};

struct td_batch_matmul_int {
    struct td_batch_shape shape;
    int16_t a_zero, b_zero, out_zero;
    int32_t multiplier;             /* of 16 bits for int16 */
    int8_t down;                    /* the right shift for int16 */
};
void td_batch_matmul_s8(const struct td_batch_matmul_int *p, const int8_t *a, const int8_t *b,
                        int8_t *out);
void td_batch_matmul_s16(const struct td_batch_matmul_int *p, const int16_t *a, const int16_t *b,
                         int16_t *out);

struct td_batch_matmul_f32 {
    struct td_batch_shape shape;
};
void td_batch_matmul_f32(const struct td_batch_matmul_f32 *p, const float *a, const float *b,
                         float *out);

/* RESIZE_BILINEAR. For each row of the output: the input row above, the one below, and the weight
 * of the second; int8 in 1/1024. The same for columns. */
struct td_bilinear_s8 {
    uint16_t batches, in_h, in_w, out_h, out_w, channels;
    const int16_t *rows;            /* [out_h][3] */
    const int16_t *columns;         /* [out_w][3] */
};
void td_bilinear_s8(const struct td_bilinear_s8 *p, const int8_t *in, int8_t *out);

struct td_bilinear_f32 {
    uint16_t batches, in_h, in_w, out_h, out_w, channels;
    const int16_t *rows;            /* [out_h][2] */
    const int16_t *columns;         /* [out_w][2] */
    const float *row_weights;
    const float *column_weights;
};
void td_bilinear_f32(const struct td_bilinear_f32 *p, const float *in, float *out);

#endif

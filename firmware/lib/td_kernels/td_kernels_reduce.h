/* td_kernels_reduce.h: reductions, normalizations and sums along an axis; part of td_kernels.h. */
#ifndef TD_KERNELS_REDUCE_H
#define TD_KERNELS_REDUCE_H
#include <stdint.h>

enum { TD_REDUCE_DIMENSIONS = 3 };

/* Loops over the kept and over the reduced dimensions, with their strides in the input. */
struct td_reduce_shape {
    uint32_t kept[TD_REDUCE_DIMENSIONS], kept_stride[TD_REDUCE_DIMENSIONS];
    uint32_t reduced[TD_REDUCE_DIMENSIONS], reduced_stride[TD_REDUCE_DIMENSIONS];
};

/* SUM, and MEAN over any dimensions: the division is in the multiplier. */
struct td_sum_int {
    struct td_reduce_shape shape;
    int32_t zero_sum;               /* in_zero * the number of elements of a sum */
    int32_t multiplier;
    int8_t down;
    int16_t out_zero;
};
void td_sum_s8(const struct td_sum_int *p, const int8_t *in, int8_t *out);
void td_sum_s16(const struct td_sum_int *p, const int16_t *in, int16_t *out);

struct td_sum_f32 {
    struct td_reduce_shape shape;
    float divisor;                  /* 1 for SUM */
};
void td_sum_f32(const struct td_sum_f32 *p, const float *in, float *out);

struct td_extremum {
    struct td_reduce_shape shape;
};
void td_reduce_max_s8(const struct td_extremum *p, const int8_t *in, int8_t *out);
void td_reduce_min_s8(const struct td_extremum *p, const int8_t *in, int8_t *out);
void td_reduce_max_f32(const struct td_extremum *p, const float *in, float *out);
void td_reduce_min_f32(const struct td_extremum *p, const float *in, float *out);

/* ---- along the middle of [outer][depth][inner] */

/* ARG_MAX (sign 1) and ARG_MIN (sign -1); of equal ones the first. */
struct td_arg {
    uint32_t outer, depth, inner;
    int8_t sign;
};
void td_arg_s8(const struct td_arg *p, const int8_t *in, int32_t *out);
void td_arg_f32(const struct td_arg *p, const float *in, int32_t *out);

/* CUMSUM: differences to the zero point times 2^19, summed, then scaled as ADD does. */
struct td_cumsum_s8 {
    uint32_t outer, depth, inner;
    uint8_t exclusive, reverse;
    int16_t in_zero, out_zero;
    int32_t multiplier;
    int8_t down;
};
void td_cumsum_s8(const struct td_cumsum_s8 *p, const int8_t *in, int8_t *out);

struct td_cumsum_f32 {
    uint32_t outer, depth, inner;
    uint8_t exclusive, reverse;
};
void td_cumsum_f32(const struct td_cumsum_f32 *p, const float *in, float *out);

/* ---- along the last dimension */

struct td_rows {
    uint32_t rows, depth;
    int16_t in_zero;
};
void td_l2_normalization_s8(const struct td_rows *p, const int8_t *in, int8_t *out);
void td_l2_normalization_f32(const struct td_rows *p, const float *in, float *out);
void td_log_softmax_f32(const struct td_rows *p, const float *in, float *out);

/* Differences to the maximum are scaled to Q5.26; below diff_min they count as 0. The logarithm is
 * scaled back by the inverse to find from which difference on results are above the lowest. */
struct td_log_softmax_s8 {
    uint32_t rows, depth;
    int32_t multiplier, inverse_multiplier;
    uint8_t left_shift;
    int8_t inverse_down;
    int32_t diff_min;
};
void td_log_softmax_s8(const struct td_log_softmax_s8 *p, const int8_t *in, int8_t *out);

/* 1 / sqrt(x) = multiplier * 2^(shift - 31); RSQRT of int16 and L2_NORMALIZATION. */
int32_t td_inverse_root(int32_t x, int32_t *shift);

struct td_rsqrt_s16 {
    uint32_t elements;
    int32_t multiplier;
    int8_t down;
};
void td_rsqrt_s16(const struct td_rsqrt_s16 *p, const int16_t *in, int16_t *out);

/* ---- windows */

void td_l2_pool_f32(const struct td_pool_f32 *p, const float *in, float *out);

#endif

/* td_kernels_math.h: more kernels that compute element by element; part of td_kernels.h.
 *
 * `in` and `out` may be the same memory; of two operands, those as large as the output. */
#ifndef TD_KERNELS_MATH_H
#define TD_KERNELS_MATH_H
#include <stdint.h>

/* ---- one operand; of int8, td_lookup_s8 with a table does all of them */

void td_abs_f32(const struct td_elements *p, const float *in, float *out);
void td_ceil_f32(const struct td_elements *p, const float *in, float *out);
void td_cos_f32(const struct td_elements *p, const float *in, float *out);
void td_elu_f32(const struct td_elements *p, const float *in, float *out);
void td_exp_f32(const struct td_elements *p, const float *in, float *out);
void td_floor_f32(const struct td_elements *p, const float *in, float *out);
void td_hard_swish_f32(const struct td_elements *p, const float *in, float *out);
void td_log_f32(const struct td_elements *p, const float *in, float *out);
void td_neg_f32(const struct td_elements *p, const float *in, float *out);
void td_round_f32(const struct td_elements *p, const float *in, float *out); /* ties to even */
void td_rsqrt_f32(const struct td_elements *p, const float *in, float *out);
void td_sin_f32(const struct td_elements *p, const float *in, float *out);
void td_sqrt_f32(const struct td_elements *p, const float *in, float *out);
void td_square_f32(const struct td_elements *p, const float *in, float *out);
void td_tanh_f32(const struct td_elements *p, const float *in, float *out);

struct td_leaky_f32 {
    uint32_t elements;
    float alpha;
};
void td_leaky_relu_f32(const struct td_leaky_f32 *p, const float *in, float *out);

/* TANH of int16: the input times multiplier / 2^shift is 24 * 2^8 a unit; table as td_logistic_s16. */
void td_tanh_s16(const struct td_logistic_s16 *p, const int16_t *in, int16_t *out);

/* Positive and negative inputs have a factor each: LEAKY_RELU, ABS of int16. */
struct td_two_slopes_s16 {
    uint32_t elements;
    int32_t positive, negative;     /* multipliers; the second by sign -1 where it is negative */
    int8_t positive_down, negative_down;
    int8_t sign;
};
void td_two_slopes_s16(const struct td_two_slopes_s16 *p, const int16_t *in, int16_t *out);

/* SOFTMAX of int8 to int16, of scale 1/65536 and zero point -32768. */
void td_softmax_s8_s16(const struct td_softmax_s8 *p, const int8_t *in, int16_t *out);

/* QUANTIZE to int32. */
struct td_widen {
    uint32_t elements;
    int32_t multiplier;
    int32_t in_zero, out_zero;
    int8_t down;
};
void td_widen_s8(const struct td_widen *p, const int8_t *in, int32_t *out);
void td_widen_s16(const struct td_widen *p, const int16_t *in, int32_t *out);

/* ---- two operands */

void td_sub_s8(const struct td_add_int *p, const int8_t *a, const int8_t *b, int8_t *out);
void td_sub_s16(const struct td_add_int *p, const int16_t *a, const int16_t *b, int16_t *out);
void td_sub_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);
void td_div_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);
void td_squared_difference_f32(const struct td_binary_f32 *p, const float *a, const float *b,
                               float *out);
void td_floor_div_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);
void td_floor_mod_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);
void td_maximum_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);
void td_minimum_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);

/* The common scale of both operands is left_shift bits wide, and so is its square. */
void td_squared_difference_s8(const struct td_add_int *p, const int8_t *a, const int8_t *b,
                              int8_t *out);
void td_squared_difference_s16(const struct td_add_int *p, const int16_t *a, const int16_t *b,
                               int16_t *out);

/* The quotient of two operands, without their zero points, times a factor. A divisor of 0 gives
 * the largest quotient there is. */
void td_div_s8(const struct td_mul_int *p, const int8_t *a, const int8_t *b, int8_t *out);

/* Plain integers: what overflows wraps. Division by 0 gives 0. */
struct td_binary_i32 {
    struct td_broadcast shape;
    int32_t out_min, out_max;
};
void td_add_i32(const struct td_binary_i32 *p, const int32_t *a, const int32_t *b, int32_t *out);
void td_sub_i32(const struct td_binary_i32 *p, const int32_t *a, const int32_t *b, int32_t *out);
void td_mul_i32(const struct td_binary_i32 *p, const int32_t *a, const int32_t *b, int32_t *out);
void td_div_i32(const struct td_binary_i32 *p, const int32_t *a, const int32_t *b, int32_t *out);
void td_squared_difference_i32(const struct td_binary_i32 *p, const int32_t *a, const int32_t *b,
                               int32_t *out);
void td_maximum_i32(const struct td_binary_i32 *p, const int32_t *a, const int32_t *b,
                    int32_t *out);
void td_minimum_i32(const struct td_binary_i32 *p, const int32_t *a, const int32_t *b,
                    int32_t *out);

/* MAXIMUM and MINIMUM of equal scales; LOGICAL_OR and LOGICAL_AND. */
struct td_pair {
    struct td_broadcast shape;
};
void td_maximum_s8(const struct td_pair *p, const int8_t *a, const int8_t *b, int8_t *out);
void td_maximum_s16(const struct td_pair *p, const int16_t *a, const int16_t *b, int16_t *out);
void td_minimum_s8(const struct td_pair *p, const int8_t *a, const int8_t *b, int8_t *out);
void td_minimum_s16(const struct td_pair *p, const int16_t *a, const int16_t *b, int16_t *out);

/* PRELU: b is the slope of negative a; int8 for int16 too. */
struct td_prelu_int {
    struct td_broadcast shape;
    int16_t a_zero, b_zero, out_zero;
    int8_t positive_down, negative_down;
    int32_t positive, negative;
};
void td_prelu_s8(const struct td_prelu_int *p, const int8_t *a, const int8_t *b, int8_t *out);
void td_prelu_s16(const struct td_prelu_int *p, const int16_t *a, const int8_t *b, int16_t *out);
void td_prelu_f32(const struct td_binary_f32 *p, const float *a, const float *b, float *out);

/* EQUAL, LESS, ... : `holds` has a bit for each way in which a pair can stand: bit 0 where a < b,
 * bit 1 where they are equal, bit 2 where a > b, bit 3 where one is not a number. */
struct td_compare {
    struct td_broadcast shape;
    uint8_t holds;
};
void td_compare_u8(const struct td_compare *p, const uint8_t *a, const uint8_t *b, uint8_t *out);
void td_compare_i32(const struct td_compare *p, const int32_t *a, const int32_t *b, uint8_t *out);
void td_compare_i64(const struct td_compare *p, const int64_t *a, const int64_t *b, uint8_t *out);
void td_compare_f32(const struct td_compare *p, const float *a, const float *b, uint8_t *out);

/* int8: both are brought to one scale with 8 bits more, rounded as the reference rounds. */
struct td_compare_s8 {
    struct td_broadcast shape;
    uint8_t holds;
    int16_t a_zero, b_zero;
    int8_t a_down, b_down;
    int32_t a_multiplier, b_multiplier;
};
void td_compare_s8(const struct td_compare_s8 *p, const int8_t *a, const int8_t *b, uint8_t *out);

/* ---- sums of several inputs: ADD_N of int8; `zero_sum` is the zero point times their number */

void td_sum_start_s8(const struct td_elements *p, const int8_t *in, int32_t *sums);
void td_sum_more_s8(const struct td_elements *p, const int8_t *in, int32_t *sums);
struct td_sum_end {
    uint32_t elements;
    int32_t zero_sum;
    int32_t multiplier;
    uint8_t left_shift;
    int8_t down;
    int16_t out_zero;
};
void td_sum_end_s8(const struct td_sum_end *p, const int32_t *sums, int8_t *out);

/* ---- CAST: C's conversions; floats outside an integer's range saturate */

void td_cast_s8_i32(const struct td_elements *p, const int8_t *in, int32_t *out);
void td_cast_s16_i32(const struct td_elements *p, const int16_t *in, int32_t *out);
void td_cast_u8_i32(const struct td_elements *p, const uint8_t *in, int32_t *out);
void td_cast_i32_s8(const struct td_elements *p, const int32_t *in, int8_t *out);
void td_cast_i32_s16(const struct td_elements *p, const int32_t *in, int16_t *out);
void td_cast_i32_f32(const struct td_elements *p, const int32_t *in, float *out);
void td_cast_f32_i32(const struct td_elements *p, const float *in, int32_t *out);

#endif

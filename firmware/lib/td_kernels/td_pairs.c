/* Operators with two operands beside ADD and MUL, of integers. */
#include "td_broadcast.h"
#include "td_fixedpoint.h"

/* The first rounding of ADD and SUB: a and b on their common scale. */
static int32_t scaled_a(const struct td_add_int *p, int32_t a)
{
    return td_requantize(td_shift_left(a - p->a_zero, p->left_shift), p->a_multiplier, p->a_down);
}

static int32_t scaled_b(const struct td_add_int *p, int32_t b)
{
    return td_requantize(td_shift_left(b - p->b_zero, p->left_shift), p->b_multiplier, p->b_down);
}

static int32_t result(const struct td_add_int *p, int32_t x)
{
    int32_t q = td_requantize(x, p->out_multiplier, p->out_down) + p->out_zero;
    return td_clamp(q, p->out_min, p->out_max);
}

static int32_t difference(const struct td_add_int *p, int32_t a, int32_t b)
{
    return result(p, scaled_a(p, a) - scaled_b(p, b));
}

static int32_t squared_difference(const struct td_add_int *p, int32_t a, int32_t b)
{
    uint32_t d = (uint32_t)(scaled_a(p, a) - scaled_b(p, b));
    return result(p, (int32_t)(d * d));
}

TD_DEFINE_BROADCAST(td_sub_s8, td_add_int, difference, int8_t, int8_t, int8_t)
TD_DEFINE_BROADCAST(td_sub_s16, td_add_int, difference, int16_t, int16_t, int16_t)
TD_DEFINE_BROADCAST(td_squared_difference_s8, td_add_int, squared_difference, int8_t, int8_t,
                    int8_t)
TD_DEFINE_BROADCAST(td_squared_difference_s16, td_add_int, squared_difference, int16_t, int16_t,
                    int16_t)

static int32_t larger(const struct td_pair *p, int32_t a, int32_t b)
{
    (void)p;
    return a > b ? a : b;
}

static int32_t smaller(const struct td_pair *p, int32_t a, int32_t b)
{
    (void)p;
    return a < b ? a : b;
}

TD_DEFINE_BROADCAST(td_maximum_s8, td_pair, larger, int8_t, int8_t, int8_t)
TD_DEFINE_BROADCAST(td_maximum_s16, td_pair, larger, int16_t, int16_t, int16_t)
TD_DEFINE_BROADCAST(td_minimum_s8, td_pair, smaller, int8_t, int8_t, int8_t)
TD_DEFINE_BROADCAST(td_minimum_s16, td_pair, smaller, int16_t, int16_t, int16_t)

static int32_t sloped(const struct td_prelu_int *p, int32_t a, int32_t b)
{
    int32_t x = a - p->a_zero;
    int32_t y = x >= 0 ? td_requantize(x, p->positive, p->positive_down)
                       : td_requantize(x * (b - p->b_zero), p->negative, p->negative_down);
    return y + p->out_zero;
}

static int32_t sloped_s8(const struct td_prelu_int *p, int32_t a, int32_t b)
{
    return td_clamp(sloped(p, a, b), INT8_MIN, INT8_MAX);
}

static int32_t sloped_s16(const struct td_prelu_int *p, int32_t a, int32_t b)
{
    return td_clamp(sloped(p, a, b), INT16_MIN, INT16_MAX);
}

TD_DEFINE_BROADCAST(td_prelu_s8, td_prelu_int, sloped_s8, int8_t, int8_t, int8_t)
TD_DEFINE_BROADCAST(td_prelu_s16, td_prelu_int, sloped_s16, int16_t, int8_t, int16_t)

static int32_t clamped(const struct td_binary_i32 *p, uint32_t x)
{
    return td_clamp((int32_t)x, p->out_min, p->out_max);
}

static int32_t sum_i32(const struct td_binary_i32 *p, int32_t a, int32_t b)
{
    return clamped(p, (uint32_t)a + (uint32_t)b);
}

static int32_t difference_i32(const struct td_binary_i32 *p, int32_t a, int32_t b)
{
    return clamped(p, (uint32_t)a - (uint32_t)b);
}

static int32_t product_i32(const struct td_binary_i32 *p, int32_t a, int32_t b)
{
    return clamped(p, (uint32_t)a * (uint32_t)b);
}

static int32_t quotient_i32(const struct td_binary_i32 *p, int32_t a, int32_t b)
{
    if (b == -1)    /* the lowest by -1 wraps */
        return clamped(p, 0u - (uint32_t)a);
    return clamped(p, b == 0 ? 0 : (uint32_t)(a / b));
}

static int32_t squared_i32(const struct td_binary_i32 *p, int32_t a, int32_t b)
{
    uint32_t d = (uint32_t)a - (uint32_t)b;
    return clamped(p, d * d);
}

static int32_t larger_i32(const struct td_binary_i32 *p, int32_t a, int32_t b)
{
    return clamped(p, (uint32_t)(a > b ? a : b));
}

static int32_t smaller_i32(const struct td_binary_i32 *p, int32_t a, int32_t b)
{
    return clamped(p, (uint32_t)(a < b ? a : b));
}

TD_DEFINE_BROADCAST(td_add_i32, td_binary_i32, sum_i32, int32_t, int32_t, int32_t)
TD_DEFINE_BROADCAST(td_sub_i32, td_binary_i32, difference_i32, int32_t, int32_t, int32_t)
TD_DEFINE_BROADCAST(td_mul_i32, td_binary_i32, product_i32, int32_t, int32_t, int32_t)
TD_DEFINE_BROADCAST(td_div_i32, td_binary_i32, quotient_i32, int32_t, int32_t, int32_t)
TD_DEFINE_BROADCAST(td_squared_difference_i32, td_binary_i32, squared_i32, int32_t, int32_t,
                    int32_t)
TD_DEFINE_BROADCAST(td_maximum_i32, td_binary_i32, larger_i32, int32_t, int32_t, int32_t)
TD_DEFINE_BROADCAST(td_minimum_i32, td_binary_i32, smaller_i32, int32_t, int32_t, int32_t)

void td_sum_start_s8(const struct td_elements *p, const int8_t *in, int32_t *sums)
{
    for (uint32_t i = 0; i < p->elements; i++)
        sums[i] = in[i];
}

void td_sum_more_s8(const struct td_elements *p, const int8_t *in, int32_t *sums)
{
    for (uint32_t i = 0; i < p->elements; i++)
        sums[i] += in[i];
}

void td_sum_end_s8(const struct td_sum_end *p, const int32_t *sums, int8_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++) {
        int32_t x = td_shift_left(sums[i] - p->zero_sum, p->left_shift);
        int32_t q = td_requantize(x, p->multiplier, p->down) + p->out_zero;
        out[i] = (int8_t)td_clamp(q, INT8_MIN, INT8_MAX);
    }
}

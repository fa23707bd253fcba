/* exp, the reciprocal and the like in fixed point, as gemmlowp computes them.
 * Qm.n below means m integer bits and n = 31 - m fractional bits. */
#include "td_fixed_functions.h"

#include "td_fixedpoint.h"

/* x * 2^bits, saturated. */
int32_t td_saturating_shift(int32_t x, uint32_t bits)
{
    int32_t limit = INT32_MAX >> bits;
    if (x > limit)
        return INT32_MAX;
    return x < -limit ? INT32_MIN : td_shift_left(x, bits);
}

/* exp(a) for a in [-1/4, 0), Q0.31: Taylor's series around -1/8. */
static int32_t exp_small(int32_t a)
{
    const int32_t exp_minus_eighth = 1895147668, third = 715827883;
    int32_t x = a + (1 << 28);
    int32_t x2 = td_multiply_high(x, x);
    int32_t x3 = td_multiply_high(x2, x);
    int32_t x4 = td_multiply_high(x2, x2);
    int32_t tail = td_multiply_high(td_round_shift(x4, 1) + x3, third) + x2;
    return exp_minus_eighth + td_multiply_high(exp_minus_eighth, x + td_round_shift(tail, 0));
}

/* exp(a) for a <= 0 in Q5.26; Q0.31. The multiple of 1/4 is split into powers of two. */
int32_t td_exp_negative(int32_t a)
{
    static const int32_t factor[] = {   /* exp(-1/4), exp(-1/2), exp(-1), ... exp(-16) */
        1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242,
    };
    const int32_t quarter = 1 << 24;
    int32_t small = (a & (quarter - 1)) - quarter;
    uint32_t multiple = (uint32_t)(small - a);
    int32_t result = exp_small(td_shift_left(small, 5));
    for (uint32_t i = 0; i < 7; i++)
        if (multiple & ((uint32_t)quarter << i))
            result = td_multiply_high(result, factor[i]);
    return a == 0 ? INT32_MAX : result;
}

/* 1 / (1 + a) for a in [0, 1], Q0.31: three steps of Newton and Raphson's division. */
int32_t td_reciprocal_of_one_plus(int32_t a)
{
    const int32_t q2_48_over_17 = 1515870810, q2_minus_32_over_17 = -1010580540, q2_one = 1 << 29;
    int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = q2_48_over_17 + td_multiply_high(half, q2_minus_32_over_17);
    for (int i = 0; i < 3; i++) {
        int32_t error = q2_one - td_multiply_high(half, x);
        x += td_saturating_shift(td_multiply_high(x, error), 2);
    }
    return td_saturating_shift(x, 1);
}

uint32_t td_leading_zeros(uint32_t x)
{
    uint32_t n = 0;
    for (; !(x & 0x80000000u); x <<= 1)
        n++;
    return n;
}

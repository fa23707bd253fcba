/* SOFTMAX of int8, to int8 or int16: exp and the reciprocal in fixed point.
 * Qm.n below means m integer bits and n = 31 - m fractional bits. */
#include "td_fixed_functions.h"
#include "td_fixedpoint.h"

static int32_t exp_of_difference(const struct td_softmax_s8 *p, int32_t difference)
{
    return td_exp_negative(td_multiply_high(td_shift_left(difference, p->left_shift), p->multiplier));
}

/* One row to outputs of `bits`; lowest is their least. */
#define TD_DEFINE_SOFTMAX(name, type, bits, lowest, highest)                                      \
    static void name##_row(const struct td_softmax_s8 *p, const int8_t *in, type *out)            \
    {                                                                                             \
        int32_t max = INT8_MIN;                                                                   \
        for (uint32_t i = 0; i < p->depth; i++)                                                   \
            max = in[i] > max ? in[i] : max;                                                      \
                                                                                                  \
        int32_t sum = 0; /* Q12.19 */                                                             \
        for (uint32_t i = 0; i < p->depth; i++)                                                   \
            if (in[i] - max >= p->diff_min)                                                       \
                sum += td_round_shift(exp_of_difference(p, in[i] - max), 11);                     \
                                                                                                  \
        /* sum = 2^(12 - zeros) * (1 + fraction), fraction in [0, 1) */                           \
        uint32_t zeros = td_leading_zeros((uint32_t)sum);                                         \
        int32_t fraction = (int32_t)(((uint32_t)sum << zeros) - 0x80000000u);                     \
        int32_t scale = td_reciprocal_of_one_plus(fraction);                                      \
        int32_t down = 12 - (int32_t)zeros + 31 - bits - 1;                                       \
        for (uint32_t i = 0; i < p->depth; i++) {                                                 \
            int32_t q = 0;                                                                        \
            if (in[i] - max >= p->diff_min)                                                       \
                q = td_round_shift(td_multiply_high(scale, exp_of_difference(p, in[i] - max)),    \
                                   down);                                                         \
            out[i] = (type)td_clamp(q + lowest, lowest, highest);                                 \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    void name(const struct td_softmax_s8 *p, const int8_t *in, type *out)                         \
    {                                                                                             \
        for (uint32_t row = 0; row < p->rows; row++, in += p->depth, out += p->depth)             \
            name##_row(p, in, out);                                                               \
    }

TD_DEFINE_SOFTMAX(td_softmax_s8, int8_t, 8, INT8_MIN, INT8_MAX)
TD_DEFINE_SOFTMAX(td_softmax_s8_s16, int16_t, 16, INT16_MIN, INT16_MAX)

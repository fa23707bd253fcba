/* SOFTMAX in int8: exp and the reciprocal in fixed point, as gemmlowp computes them.
 * Qm.n below means m integer bits and n = 31 - m fractional bits. */
#include "td_fixed_functions.h"
#include "td_fixedpoint.h"

static int32_t exp_of_difference(const struct td_softmax_s8 *p, int32_t difference)
{
    return td_exp_negative(td_multiply_high(td_shift_left(difference, p->left_shift), p->multiplier));
}

static void one_row(const struct td_softmax_s8 *p, const int8_t *in, int8_t *out)
{
    int32_t max = INT8_MIN;
    for (uint32_t i = 0; i < p->depth; i++)
        max = in[i] > max ? in[i] : max;

    int32_t sum = 0;    /* Q12.19 */
    for (uint32_t i = 0; i < p->depth; i++)
        if (in[i] - max >= p->diff_min)
            sum += td_round_shift(exp_of_difference(p, in[i] - max), 11);

    /* sum = 2^(12 - zeros) * (1 + fraction), fraction in [0, 1) */
    uint32_t zeros = td_leading_zeros((uint32_t)sum);
    int32_t fraction = (int32_t)(((uint32_t)sum << zeros) - 0x80000000u);
    int32_t scale = td_reciprocal_of_one_plus(fraction);
    int32_t down = 12 - (int32_t)zeros + 31 - 8 - 1;
    for (uint32_t i = 0; i < p->depth; i++) {
        int32_t q = 0;
        if (in[i] - max >= p->diff_min)
            q = td_round_shift(td_multiply_high(scale, exp_of_difference(p, in[i] - max)), down);
        out[i] = (int8_t)td_clamp(q + INT8_MIN, INT8_MIN, INT8_MAX);
    }
}

void td_softmax_s8(const struct td_softmax_s8 *p, const int8_t *in, int8_t *out)
{
    for (uint32_t row = 0; row < p->rows; row++, in += p->depth, out += p->depth)
        one_row(p, in, out);
}

/* DIV of int8: a reciprocal in fixed point, normalized, as TFLite-Micro computes it. */
#include "td_broadcast.h"
#include "td_fixed_functions.h"
#include "td_fixedpoint.h"

static int32_t quotient(const struct td_mul_int *p, int32_t a, int32_t b)
{
    int32_t x = a - p->a_zero, y = b - p->b_zero;
    if (y < 0) {
        x = -x;
        y = -y;
    }
    if (x == 0)
        return td_clamp(p->out_zero, p->out_min, p->out_max);
    if (y == 0)
        return x < 0 ? p->out_min : p->out_max;
    /* y = 2^(31 - zeros) * (1 + fraction), and x fills 31 bits when it is shifted by `room` */
    uint32_t zeros = td_leading_zeros((uint32_t)y);
    int32_t fraction = (int32_t)(((uint32_t)y << zeros) - 0x80000000u);
    uint32_t room = td_leading_zeros(((uint32_t)(x < 0 ? ~x : x) << 1) | 1);
    int32_t ratio = td_multiply_high(td_shift_left(x, room), td_reciprocal_of_one_plus(fraction));
    int32_t down = p->down + 31 - (int32_t)zeros + (int32_t)room;
    int32_t q = down > 31 ? 0 : td_requantize(ratio, p->multiplier, down);
    return td_clamp(q + p->out_zero, p->out_min, p->out_max);
}

TD_DEFINE_BROADCAST(td_div_s8, td_mul_int, quotient, int8_t, int8_t, int8_t)

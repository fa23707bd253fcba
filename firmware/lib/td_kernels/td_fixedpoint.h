/* td_fixedpoint.h: fixed-point arithmetic inside the kernels, rounding as TFLite-Micro does.
 *
 * A real factor is multiplier * 2^(shift - 31) with multiplier in [2^30, 2^31). TFLite-Micro rounds
 * twice: to the nearest at the product's bit 31, ties up, and again, ties away from zero, behind
 * the right shift. Both roundings are part of the result and are kept. */
#ifndef TD_FIXEDPOINT_H
#define TD_FIXEDPOINT_H
#include <stdint.h>

#include "td_kernels.h"

/* round(a * b / 2^31). The product's sign needs no care: rounding ties of positive products away
 * from zero and of negative ones towards it is the same as adding half and shifting. */
static inline int32_t td_multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* x * 2^bits; wraps where the model's scales overflow 32 bits, as on the reference's host. */
static inline int32_t td_shift_left(int32_t x, uint32_t bits)
{
    return (int32_t)((uint32_t)x << bits);
}

/* x / 2^(down + 1), rounded to the nearest, ties away from zero. Cannot overflow. */
static inline int32_t td_round_shift(int32_t x, int32_t down)
{
    x += x >> 31;
    return ((x >> down) + 1) >> 1;
}

/* x * multiplier * 2^(shift - 31), with down = -1 - shift. */
static inline int32_t td_requantize(int32_t x, int32_t multiplier, int32_t down)
{
    if (down >= 0)
        return td_round_shift(td_multiply_high(x, multiplier), down);
    return td_multiply_high(td_shift_left(x, (uint32_t)(-1 - down)), multiplier);
}

static inline int32_t td_clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* An accumulator becomes an output of channel `c`. */
static inline int32_t td_scale_channel(const struct td_scale *s, int32_t acc, uint32_t c)
{
    uint32_t i = c & s->channel_mask;
    return td_clamp(td_requantize(acc, s->multiplier[i], s->down[i]) + s->out_zero, s->out_min,
                    s->out_max);
}

/* A 64-bit accumulator becomes an int16 output of channel `c`; one rounding, ties up. */
static inline int16_t td_scale_channel_s16(const struct td_scale_s16 *s, int64_t acc, uint32_t c)
{
    uint32_t i = c & s->channel_mask;
    int64_t product = acc * s->multiplier[i] + ((int64_t)1 << (s->right[i] - 1));
    return (int16_t)td_clamp((int32_t)(product >> s->right[i]), s->out_min, s->out_max);
}

#endif

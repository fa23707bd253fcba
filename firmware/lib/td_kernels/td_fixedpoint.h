/* td_fixedpoint.h: fixed-point arithmetic inside the kernels, rounding as TFLite-Micro does.
 *
 * A real factor is multiplier * 2^(shift - 31) with multiplier in [2^30, 2^31). TFLite-Micro rounds
 * twice: to the nearest at the product's bit 31, ties up, and again, ties away from zero, behind
 * the right shift. Both roundings are part of the result and are kept. */
#ifndef TD_FIXEDPOINT_H
#define TD_FIXEDPOINT_H
#include <stdint.h>

#include "td_kernels.h"

/* Inner loops are worth their code size; GCC's own judgement differs. */
#define TD_INLINE static inline __attribute__((always_inline))

/* Cores whose multiplier has no 64-bit result. */
#if defined(__ARM_ARCH_6M__) && !defined(TD_SHORT_MULTIPLY)
#define TD_SHORT_MULTIPLY 1
#endif

/* round(a * b / 2^31). The product's sign needs no care: rounding ties of positive products away
 * from zero and of negative ones towards it is the same as adding half and shifting. */
#if TD_SHORT_MULTIPLY
static inline int32_t td_multiply_high(int32_t a, int32_t b)
{
    /* a * b = high * 2^32 + (middle mod 2^16) * 2^16 + (low mod 2^16), from halves of 16 bits */
    uint32_t a_low = (uint32_t)a & 0xffff, b_low = (uint32_t)b & 0xffff;
    int32_t a_high = a >> 16, b_high = b >> 16;
    int32_t first = a_high * (int32_t)b_low + (int32_t)((a_low * b_low) >> 16);
    int32_t middle = (int32_t)a_low * b_high + (first & 0xffff);
    int32_t high = a_high * b_high + (first >> 16) + (middle >> 16);
    uint32_t bits_31_30 = ((uint32_t)middle >> 14) & 3;
    return (int32_t)(((uint32_t)high << 1) + ((bits_31_30 + 1) >> 1));
}
#else
static inline int32_t td_multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}
#endif

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
TD_INLINE int32_t td_requantize(int32_t x, int32_t multiplier, int32_t down)
{
    if (down >= 0)
        return td_round_shift(td_multiply_high(x, multiplier), down);
    return td_multiply_high(td_shift_left(x, (uint32_t)(-1 - down)), multiplier);
}

static inline int32_t td_clamp(int32_t x, int32_t low, int32_t high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* An accumulator becomes an output of channel `c`: as a function, which kernels share. */
int32_t td_scale_shared(const struct td_scale *s, int32_t acc, uint32_t c);

#if defined(__OPTIMIZE_SIZE__)
#define td_scale_channel td_scale_shared

TD_INLINE void td_scale_four(const struct td_scale *s, int32_t acc0, int32_t acc1, int32_t acc2,
                             int32_t acc3, uint32_t c, int8_t *out)
{
    int32_t acc[4] = {acc0, acc1, acc2, acc3};
    for (uint32_t i = 0; i < 4; i++)
        out[c + i] = (int8_t)td_scale_shared(s, acc[i], c + i);
}
#else
/* The same inlined. */
TD_INLINE int32_t td_scale_channel(const struct td_scale *s, int32_t acc, uint32_t c)
{
    uint32_t i = c & s->channel_mask;
    return td_clamp(td_requantize(acc, s->multiplier[i], s->down[i]) + s->out_zero, s->out_min,
                    s->out_max);
}

/* The same for channels c to c + 3; c is a multiple of 4. All is read before the first store, which
 * might write over `s` for all the compiler knows. */
TD_INLINE void td_scale_four(const struct td_scale *s, int32_t acc0, int32_t acc1, int32_t acc2,
                             int32_t acc3, uint32_t c, int8_t *out)
{
    uint32_t i = c & s->channel_mask;
    const int32_t *m = s->multiplier + i;
    const int8_t *down = s->down + i;
    int32_t zero = s->out_zero, low = s->out_min, high = s->out_max;
    acc0 = td_clamp(td_requantize(acc0, m[0], down[0]) + zero, low, high);
    acc1 = td_clamp(td_requantize(acc1, m[1], down[1]) + zero, low, high);
    acc2 = td_clamp(td_requantize(acc2, m[2], down[2]) + zero, low, high);
    acc3 = td_clamp(td_requantize(acc3, m[3], down[3]) + zero, low, high);
    out[c] = (int8_t)acc0;
    out[c + 1] = (int8_t)acc1;
    out[c + 2] = (int8_t)acc2;
    out[c + 3] = (int8_t)acc3;
}
#endif

/* A 64-bit accumulator becomes an int16 output of channel `c`; one rounding, ties up. */
static inline int16_t td_scale_channel_s16(const struct td_scale_s16 *s, int64_t acc, uint32_t c)
{
    uint32_t i = c & s->channel_mask;
    int64_t product = acc * s->multiplier[i] + ((int64_t)1 << (s->right[i] - 1));
    return (int16_t)td_clamp((int32_t)(product >> s->right[i]), s->out_min, s->out_max);
}

#endif

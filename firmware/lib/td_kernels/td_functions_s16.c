/* TANH, LEAKY_RELU and ABS of int16, QUANTIZE to int32, and CAST. */
#include "td_fixedpoint.h"

/* 2 sigmoid(2 x) - 1 from the table of the sigmoid, between its entries a straight line. */
static int16_t tanh_s16(const struct td_logistic_s16 *p, int16_t in)
{
    int32_t half = p->shift > 0 ? 1 << (p->shift - 1) : 0;
    int32_t x = (in * p->multiplier + half) >> p->shift;
    uint32_t magnitude = x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
    uint32_t i = magnitude >> 8;
    int32_t y = 0xffff << 8;        /* sigmoid in Q0.24 */
    if (i < 255) {
        uint32_t from = p->table[i], to = p->table[i + 1];
        y = (int32_t)((from << 8) + (magnitude & 0xff) * (to - from));
    }
    y -= 1 << 23;
    y = x >= 0 ? y + (1 << 7) : -y + (1 << 7) - 1;
    return (int16_t)(y >> 8);
}

void td_tanh_s16(const struct td_logistic_s16 *p, const int16_t *in, int16_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = tanh_s16(p, in[i]);
}

void td_two_slopes_s16(const struct td_two_slopes_s16 *p, const int16_t *in, int16_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++) {
        int32_t y = in[i] >= 0 ? td_requantize(in[i], p->positive, p->positive_down)
                               : p->sign * td_requantize(in[i], p->negative, p->negative_down);
        out[i] = (int16_t)td_clamp(y, INT16_MIN, INT16_MAX);
    }
}

#define TD_DEFINE_WIDEN(name, from)                                                               \
    void name(const struct td_widen *p, const from *in, int32_t *out)                             \
    {                                                                                             \
        for (uint32_t i = 0; i < p->elements; i++)                                                \
            out[i] = td_requantize(in[i] - p->in_zero, p->multiplier, p->down) + p->out_zero;     \
    }

TD_DEFINE_WIDEN(td_widen_s8, int8_t)
TD_DEFINE_WIDEN(td_widen_s16, int16_t)

/* Towards zero; what an int32 cannot hold saturates, and not a number becomes 0. */
static int32_t truncated(float x)
{
    if (x >= 0x1p31f)
        return INT32_MAX;
    if (x <= -0x1p31f)
        return INT32_MIN;
    return x == x ? (int32_t)x : 0;
}

#define TD_DEFINE_CAST(name, from, to, convert)                                                   \
    void name(const struct td_elements *p, const from *in, to *out)                               \
    {                                                                                             \
        for (uint32_t i = 0; i < p->elements; i++)                                                \
            out[i] = (to)convert(in[i]);                                                          \
    }

TD_DEFINE_CAST(td_cast_s8_i32, int8_t, int32_t, )
TD_DEFINE_CAST(td_cast_s16_i32, int16_t, int32_t, )
TD_DEFINE_CAST(td_cast_u8_i32, uint8_t, int32_t, )
TD_DEFINE_CAST(td_cast_i32_s8, int32_t, int8_t, )
TD_DEFINE_CAST(td_cast_i32_s16, int32_t, int16_t, )
TD_DEFINE_CAST(td_cast_i32_f32, int32_t, float, )
TD_DEFINE_CAST(td_cast_f32_i32, float, int32_t, truncated)

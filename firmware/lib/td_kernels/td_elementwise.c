/* QUANTIZE, RELU, RELU6, LOGISTIC and MEAN of integers. */
#include "td_fixedpoint.h"

#define TD_DEFINE_REQUANTIZE(name, from, to)                                                      \
    void name(const struct td_requantize *p, const from *in, to *out)                             \
    {                                                                                             \
        for (uint32_t i = 0; i < p->elements; i++) {                                              \
            int32_t q = td_requantize(in[i] - p->in_zero, p->multiplier, p->down);                \
            out[i] = (to)td_clamp(q + p->out_zero, p->out_min, p->out_max);                       \
        }                                                                                         \
    }

TD_DEFINE_REQUANTIZE(td_requantize_s8, int8_t, int8_t)
TD_DEFINE_REQUANTIZE(td_requantize_s16, int16_t, int16_t)
TD_DEFINE_REQUANTIZE(td_requantize_s8_s16, int8_t, int16_t)
TD_DEFINE_REQUANTIZE(td_requantize_s16_s8, int16_t, int8_t)

void td_clamp_s8(const struct td_clamp_int *p, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = (int8_t)td_clamp(in[i], p->out_min, p->out_max);
}

void td_clamp_s16(const struct td_clamp_int *p, const int16_t *in, int16_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = (int16_t)td_clamp(in[i], p->out_min, p->out_max);
}

void td_lookup_s8(const struct td_lookup_s8 *p, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = p->table[in[i] + 128];
}

static int16_t logistic(const struct td_logistic_s16 *p, int16_t in)
{
    int32_t half = p->shift > 0 ? 1 << (p->shift - 1) : 0;
    int32_t x = (in * p->multiplier + half) >> p->shift;
    uint32_t magnitude = x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
    uint32_t i = magnitude >> 9;
    uint32_t y = 0x7fffu << 10;     /* Q0.25 */
    if (i < 255) {
        uint32_t from = p->table[i], to = p->table[i + 1];
        y = (from << 9) + (magnitude & 0x1ff) * (to - from);
    }
    y = x >= 0 ? y + (1u << 9) : (1u << 25) - y + (1u << 9) - 1;
    return (int16_t)(y >> 10);
}

void td_logistic_s16(const struct td_logistic_s16 *p, const int16_t *in, int16_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = logistic(p, in[i]);
}

#define TD_DEFINE_MEAN(name, type, lowest, highest)                                               \
    void name(const struct td_mean_int *p, const type *in, type *out)                             \
    {                                                                                             \
        for (uint32_t o = 0; o < p->outer; o++, in += p->reduced * p->inner)                      \
            for (uint32_t c = 0; c < p->inner; c++) {                                             \
                const type *x = in + c;                                                           \
                int32_t sum = -p->zero_sum;                                                       \
                for (uint32_t n = p->reduced; n > 0; n--, x += p->inner)                          \
                    sum += *x;                                                                    \
                int32_t q = td_requantize(sum, p->multiplier, p->down) + p->out_zero;             \
                *out++ = (type)td_clamp(q, lowest, highest);                                      \
            }                                                                                     \
    }

TD_DEFINE_MEAN(td_mean_s8, int8_t, INT8_MIN, INT8_MAX)
TD_DEFINE_MEAN(td_mean_s16, int16_t, INT16_MIN, INT16_MAX)

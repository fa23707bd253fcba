/* QUANTIZE, RELU, RELU6, LOGISTIC and MEAN of integers. */
#include "td_fixedpoint.h"

void td_requantize_s8(const struct td_requantize *p, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++) {
        int32_t q = td_requantize(in[i] - p->in_zero, p->multiplier, p->down) + p->out_zero;
        out[i] = (int8_t)td_clamp(q, p->out_min, p->out_max);
    }
}

void td_clamp_s8(const struct td_clamp_int *p, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = (int8_t)td_clamp(in[i], p->out_min, p->out_max);
}

void td_lookup_s8(const struct td_lookup_s8 *p, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = p->table[in[i] + 128];
}

void td_mean_s8(const struct td_mean_int *p, const int8_t *in, int8_t *out)
{
    for (uint32_t o = 0; o < p->outer; o++, in += p->reduced * p->inner)
        for (uint32_t c = 0; c < p->inner; c++) {
            const int8_t *x = in + c;
            int32_t sum = -p->zero_sum;
            for (uint32_t n = p->reduced; n > 0; n--, x += p->inner)
                sum += *x;
            int32_t q = td_requantize(sum, p->multiplier, p->down) + p->out_zero;
            *out++ = (int8_t)td_clamp(q, INT8_MIN, INT8_MAX);
        }
}

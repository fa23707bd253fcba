/* SVDF. */
#include "td_fixedpoint.h"
#include "td_float.h"

#define TD_DEFINE_SVDF(name, type, lowest, highest)                                               \
    /* The filter's row of past values, one step on; its product with the time weights. */        \
    static int32_t name##_filter(const struct td_svdf_int *p, const int8_t *in, type *row,        \
                                 uint32_t filter)                                                 \
    {                                                                                             \
        const int8_t *w = p->feature + filter * p->inputs;                                        \
        const type *t = (const type *)p->time + filter * p->memory;                               \
        int32_t product = p->feature_bias[filter];                                                \
        for (uint32_t i = 0; i < p->inputs; i++)                                                  \
            product += w[i] * in[i];                                                              \
        product = td_requantize(product, p->feature_multiplier, p->feature_down);                 \
        product = p->state_zero + td_clamp(product, lowest, highest);                             \
        int32_t sum = 0;                                                                          \
        for (uint32_t i = 0; i < p->memory; i++) {                                                \
            row[i] = i + 1u < p->memory ? row[i + 1] : (type)product;                             \
            sum += t[i] * (row[i] - p->state_zero);                                               \
        }                                                                                         \
        return sum;                                                                               \
    }                                                                                             \
                                                                                                  \
    void name(const struct td_svdf_int *p, const int8_t *in, type *state, int8_t *out)            \
    {                                                                                             \
        for (uint32_t b = 0; b < p->batches; b++, in += p->inputs)                                \
            for (uint32_t u = 0; u < p->units; u++) {                                             \
                int32_t sum = p->bias[u];                                                         \
                for (uint32_t r = 0; r < p->rank; r++, state += p->memory)                        \
                    sum += name##_filter(p, in, state, u * p->rank + r);                          \
                int32_t q = td_requantize(sum, p->multiplier, p->down) + p->out_zero;             \
                *out++ = (int8_t)td_clamp(q, INT8_MIN, INT8_MAX);                                 \
            }                                                                                     \
    }

TD_DEFINE_SVDF(td_svdf_s8, int8_t, INT8_MIN, INT8_MAX)
TD_DEFINE_SVDF(td_svdf_s8_s16, int16_t, INT16_MIN, INT16_MAX)

static float filter_f32(const struct td_svdf_f32 *p, const float *in, float *row, uint32_t filter)
{
    const float *w = p->feature + filter * p->inputs, *t = p->time + filter * p->memory;
    float product = 0.0f, sum = 0.0f;
    for (uint32_t i = 0; i < p->inputs; i++)
        product += w[i] * in[i];
    for (uint32_t i = 0; i < p->memory; i++) {
        row[i] = i + 1u < p->memory ? row[i + 1] : product;
        sum += t[i] * row[i];
    }
    return sum;
}

void td_svdf_f32(const struct td_svdf_f32 *p, const float *in, float *state, float *out)
{
    for (uint32_t b = 0; b < p->batches; b++, in += p->inputs)
        for (uint32_t u = 0; u < p->units; u++) {
            float sum = p->bias[u];
            for (uint32_t r = 0; r < p->rank; r++, state += p->memory)
                sum += filter_f32(p, in, state, u * p->rank + r);
            *out++ = td_clampf(sum, p->out_min, p->out_max);
        }
}

/* SUM, MEAN over dimensions that are not neighbours, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN and
 * CUMSUM. */
#include "td_fixedpoint.h"
#include "td_float.h"

/* Fold every reduced element into `value` by `step`. */
#define TD_REDUCE_ONE(s, from, value, step)                                                       \
    for (uint32_t x = 0; x < (s)->reduced[0]; x++)                                                \
        for (uint32_t y = 0; y < (s)->reduced[1]; y++)                                            \
            for (uint32_t z = 0; z < (s)->reduced[2]; z++)                                        \
                value = step(value, (from)[x * (s)->reduced_stride[0] +                           \
                                           y * (s)->reduced_stride[1] +                           \
                                           z * (s)->reduced_stride[2]])

/* A kernel: `start` is the first value, `step` folds, `end` makes the output of (p, value). */
#define TD_DEFINE_REDUCE(name, params, type, value_type, start, step, end)                        \
    void name(const struct params *p, const type *in, type *out)                                  \
    {                                                                                             \
        const struct td_reduce_shape *s = &p->shape;                                              \
        for (uint32_t i = 0; i < s->kept[0]; i++)                                                 \
            for (uint32_t j = 0; j < s->kept[1]; j++)                                             \
                for (uint32_t k = 0; k < s->kept[2]; k++) {                                       \
                    const type *from = in + i * s->kept_stride[0] + j * s->kept_stride[1] +       \
                                       k * s->kept_stride[2];                                     \
                    value_type value = start;                                                     \
                    TD_REDUCE_ONE(s, from, value, step);                                          \
                    *out++ = (type)end(p, value);                                                 \
                }                                                                                 \
    }

#define PLUS(a, b) ((a) + (b))
#define LARGER(a, b) ((b) > (a) ? (b) : (a))
#define SMALLER(a, b) ((b) < (a) ? (b) : (a))
#define AS_IT_IS(p, value) (value)

static int32_t scaled(const struct td_sum_int *p, int32_t sum)
{
    return td_requantize(sum - p->zero_sum, p->multiplier, p->down) + p->out_zero;
}

static int32_t scaled_s8(const struct td_sum_int *p, int32_t sum)
{
    return td_clamp(scaled(p, sum), INT8_MIN, INT8_MAX);
}

static int32_t scaled_s16(const struct td_sum_int *p, int32_t sum)
{
    return td_clamp(scaled(p, sum), INT16_MIN, INT16_MAX);
}

static float divided(const struct td_sum_f32 *p, float sum)
{
    return sum / p->divisor;
}

TD_DEFINE_REDUCE(td_sum_s8, td_sum_int, int8_t, int32_t, 0, PLUS, scaled_s8)
TD_DEFINE_REDUCE(td_sum_s16, td_sum_int, int16_t, int32_t, 0, PLUS, scaled_s16)
TD_DEFINE_REDUCE(td_sum_f32, td_sum_f32, float, float, 0.0f, PLUS, divided)
TD_DEFINE_REDUCE(td_reduce_max_s8, td_extremum, int8_t, int8_t, *from, LARGER, AS_IT_IS)
TD_DEFINE_REDUCE(td_reduce_min_s8, td_extremum, int8_t, int8_t, *from, SMALLER, AS_IT_IS)
TD_DEFINE_REDUCE(td_reduce_max_f32, td_extremum, float, float, *from, LARGER, AS_IT_IS)
TD_DEFINE_REDUCE(td_reduce_min_f32, td_extremum, float, float, *from, SMALLER, AS_IT_IS)

#define TD_DEFINE_ARG(name, type)                                                                 \
    void name(const struct td_arg *p, const type *in, int32_t *out)                               \
    {                                                                                             \
        for (uint32_t o = 0; o < p->outer; o++, in += p->depth * p->inner)                        \
            for (uint32_t c = 0; c < p->inner; c++) {                                             \
                uint32_t best = 0;                                                                \
                for (uint32_t i = 1; i < p->depth; i++) {                                         \
                    type x = in[i * p->inner + c], y = in[best * p->inner + c];                   \
                    if (p->sign > 0 ? x > y : x < y)                                              \
                        best = i;                                                                 \
                }                                                                                 \
                *out++ = (int32_t)best;                                                           \
            }                                                                                     \
    }

TD_DEFINE_ARG(td_arg_s8, int8_t)
TD_DEFINE_ARG(td_arg_f32, float)

static int32_t cumulated_s8(const struct td_cumsum_s8 *p, int32_t sum)
{
    int32_t q = td_requantize(td_shift_left(sum, 19), p->multiplier, p->down) + p->out_zero;
    return td_clamp(q, INT8_MIN, INT8_MAX);
}

#define CUMULATED_F32(p, sum) (sum)

#define TD_DEFINE_CUMSUM(name, type, sum_type, first, zero, end)                                  \
    void name(const struct name *p, const type *in, type *out)                                    \
    {                                                                                             \
        for (uint32_t o = 0; o < p->outer; o++, in += p->depth * p->inner,                        \
                      out += p->depth * p->inner)                                                 \
            for (uint32_t c = 0; c < p->inner; c++) {                                             \
                sum_type sum = first;                                                             \
                for (uint32_t n = 0; n < p->depth; n++) {                                         \
                    uint32_t at = (p->reverse ? p->depth - 1 - n : n) * p->inner + c;             \
                    sum_type next = sum + (in[at] - zero);                                        \
                    out[at] = (type)end(p, p->exclusive ? sum : next);                            \
                    sum = next;                                                                   \
                }                                                                                 \
            }                                                                                     \
    }

/* The reference begins with minus the zero point, which only integers have. */
TD_DEFINE_CUMSUM(td_cumsum_s8, int8_t, int32_t, -p->in_zero, p->in_zero, cumulated_s8)
TD_DEFINE_CUMSUM(td_cumsum_f32, float, float, 0.0f, 0.0f, CUMULATED_F32)

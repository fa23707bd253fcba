/* CONV_2D in groups, and TRANSPOSE_CONV: plain loops, one output at a time. */
#include "td_fixedpoint.h"
#include "td_float.h"

static void store_s8(const struct td_grouped_s8 *p, int32_t sum, uint32_t c, int8_t *out)
{
    *out = (int8_t)td_scale_channel(&p->scale, sum, c);
}

static void store_s16(const struct td_grouped_s16 *p, int64_t sum, uint32_t c, int16_t *out)
{
    *out = td_scale_channel_s16(&p->scale, sum, c);
}

static void store_f32(const struct td_grouped_f32 *p, float sum, uint32_t c, float *out)
{
    (void)c;
    *out = td_clampf(sum, p->out_min, p->out_max);
}

#define NO_ZERO(p) 0
#define ZERO(p) (p)->in_zero

/* For output (i, j, c) of an image: where its window begins, what its taps sum up to. */
#define TD_DEFINE_GROUPED(name, params, type, weight_type, sum_type, zero, store)                 \
    static sum_type name##_sum(const struct params *p, const type *in, uint32_t i, uint32_t j,    \
                               uint32_t c)                                                        \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t depth = w->in_c / (uint32_t)p->groups;                                           \
        uint32_t group = c / (w->out_c / (uint32_t)p->groups);                                    \
        const weight_type *weight = p->weights + c * w->k_h * w->k_w * depth;                     \
        sum_type sum = p->bias[c];                                                                \
        for (uint32_t y = 0; y < w->k_h; y++)                                                     \
            for (uint32_t x = 0; x < w->k_w; x++, weight += depth) {                              \
                int32_t row = (int32_t)(i * w->stride_h + y * w->dilation_h) - w->pad_top;        \
                int32_t column = (int32_t)(j * w->stride_w + x * w->dilation_w) - w->pad_left;    \
                if (row < 0 || row >= w->in_h || column < 0 || column >= w->in_w)                 \
                    continue;                                                                     \
                const type *pixel =                                                               \
                    in + ((uint32_t)row * w->in_w + (uint32_t)column) * w->in_c + group * depth;  \
                for (uint32_t d = 0; d < depth; d++)                                              \
                    sum += (sum_type)weight[d] * (pixel[d] - zero(p));                            \
            }                                                                                     \
        return sum;                                                                               \
    }                                                                                             \
                                                                                                  \
    void name(const struct params *p, const type *in, type *out)                                  \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t image = (uint32_t)w->in_h * w->in_w * w->in_c;                                   \
        for (uint32_t b = 0; b < w->batches; b++, in += image)                                    \
            for (uint32_t i = 0; i < w->out_h; i++)                                               \
                for (uint32_t j = 0; j < w->out_w; j++)                                           \
                    for (uint32_t c = 0; c < w->out_c; c++, out++)                                \
                        store(p, name##_sum(p, in, i, j, c), c, out);                             \
    }

TD_DEFINE_GROUPED(td_grouped_conv_s8, td_grouped_s8, int8_t, int8_t, int32_t, ZERO, store_s8)
TD_DEFINE_GROUPED(td_grouped_conv_s16, td_grouped_s16, int16_t, int8_t, int64_t, NO_ZERO,
                  store_s16)
TD_DEFINE_GROUPED(td_grouped_conv_f32, td_grouped_f32, float, float, float, NO_ZERO, store_f32)

/* The tap at distance `tap` reaches output position `at` from an input position, or from none. */
static int source(uint32_t at, uint32_t tap, uint32_t pad, uint32_t stride, uint32_t limit,
                  uint32_t *from)
{
    uint32_t shifted = at + pad;
    if (shifted < tap || (shifted - tap) % stride != 0)
        return 0;
    *from = (shifted - tap) / stride;
    return *from < limit;
}

#define TD_DEFINE_TRANSPOSED(name, params, type, weight_type, sum_type, zero, store)              \
    static sum_type name##_sum(const struct params *p, const type *in, uint32_t i, uint32_t j,    \
                               uint32_t c)                                                        \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        const weight_type *weight = p->weights + c * w->k_h * w->k_w * w->in_c;                   \
        sum_type sum = p->bias[c];                                                                \
        uint32_t row, column;                                                                     \
        for (uint32_t y = 0; y < w->k_h; y++)                                                     \
            for (uint32_t x = 0; x < w->k_w; x++, weight += w->in_c) {                            \
                if (!source(i, y, w->pad_top, w->stride_h, w->in_h, &row) ||                      \
                    !source(j, x, w->pad_left, w->stride_w, w->in_w, &column))                    \
                    continue;                                                                     \
                const type *pixel = in + (row * w->in_w + column) * w->in_c;                      \
                for (uint32_t d = 0; d < w->in_c; d++)                                            \
                    sum += (sum_type)weight[d] * (pixel[d] - zero(p));                            \
            }                                                                                     \
        return sum;                                                                               \
    }                                                                                             \
                                                                                                  \
    void name(const struct params *p, const type *in, type *out)                                  \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t image = (uint32_t)w->in_h * w->in_w * w->in_c;                                   \
        for (uint32_t b = 0; b < w->batches; b++, in += image)                                    \
            for (uint32_t i = 0; i < w->out_h; i++)                                               \
                for (uint32_t j = 0; j < w->out_w; j++)                                           \
                    for (uint32_t c = 0; c < w->out_c; c++, out++)                                \
                        store(p, name##_sum(p, in, i, j, c), c, out);                             \
    }

TD_DEFINE_TRANSPOSED(td_transpose_conv_s8, td_grouped_s8, int8_t, int8_t, int32_t, ZERO, store_s8)
TD_DEFINE_TRANSPOSED(td_transpose_conv_s16, td_grouped_s16, int16_t, int8_t, int64_t, NO_ZERO,
                     store_s16)
TD_DEFINE_TRANSPOSED(td_transpose_conv_f32, td_grouped_f32, float, float, float, NO_ZERO,
                     store_f32)

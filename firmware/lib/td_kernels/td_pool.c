/* AVERAGE_POOL_2D and MAX_POOL_2D of integers. Positions outside the image are left out. */
#include "td_fixedpoint.h"
#include "td_window.h"

/* Rounded to the nearest, ties away from zero. */
static int32_t rounded_quotient(int32_t sum, int32_t count)
{
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

#define TD_DEFINE_POOLS(suffix, type, lowest)                                                     \
    static int32_t sum_##suffix(const type *in, const struct td_area *a, uint32_t row, uint32_t c)   \
    {                                                                                             \
        int32_t sum = 0;                                                                          \
        for (uint32_t y = 0; y < a->h; y++, in += row) {                                          \
            const type *x = in;                                                                   \
            for (uint32_t n = a->w; n > 0; n--, x += c)                                           \
                sum += *x;                                                                        \
        }                                                                                         \
        return sum;                                                                               \
    }                                                                                             \
                                                                                                  \
    static int32_t max_##suffix(const type *in, const struct td_area *a, uint32_t row, uint32_t c)   \
    {                                                                                             \
        int32_t max = lowest;                                                                     \
        for (uint32_t y = 0; y < a->h; y++, in += row) {                                          \
            const type *x = in;                                                                   \
            for (uint32_t n = a->w; n > 0; n--, x += c)                                           \
                max = *x > max ? *x : max;                                                        \
        }                                                                                         \
        return max;                                                                               \
    }                                                                                             \
                                                                                                  \
    void td_average_pool_##suffix(const struct td_pool_int *p, const type *in, type *out)         \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t row = (uint32_t)w->in_w * w->in_c;                                               \
        for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * row)                            \
            for (uint32_t i = 0; i < w->out_h; i++)                                               \
                for (uint32_t j = 0; j < w->out_w; j++) {                                         \
                    struct td_area a = td_window_clipped(w, i, j);                                             \
                    const type *from = in + a.y * row + a.x * w->in_c;                            \
                    for (uint32_t c = 0; c < w->in_c; c++) {                                      \
                        int32_t sum = sum_##suffix(from + c, &a, row, w->in_c);                   \
                        int32_t mean = rounded_quotient(sum, (int32_t)(a.h * a.w));               \
                        *out++ = (type)td_clamp(mean, p->out_min, p->out_max);                    \
                    }                                                                             \
                }                                                                                 \
    }                                                                                             \
                                                                                                  \
    void td_max_pool_##suffix(const struct td_pool_int *p, const type *in, type *out)             \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t row = (uint32_t)w->in_w * w->in_c;                                               \
        for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * row)                            \
            for (uint32_t i = 0; i < w->out_h; i++)                                               \
                for (uint32_t j = 0; j < w->out_w; j++) {                                         \
                    struct td_area a = td_window_clipped(w, i, j);                                             \
                    const type *from = in + a.y * row + a.x * w->in_c;                            \
                    for (uint32_t c = 0; c < w->in_c; c++)                                        \
                        *out++ = (type)td_clamp(max_##suffix(from + c, &a, row, w->in_c),         \
                                                p->out_min, p->out_max);                          \
                }                                                                                 \
    }

TD_DEFINE_POOLS(s8, int8_t, INT8_MIN)
TD_DEFINE_POOLS(s16, int16_t, INT16_MIN)

/* AVERAGE_POOL_2D and MAX_POOL_2D of integers. Positions outside the image are left out. */
#include "td_fixedpoint.h"
#include "td_window.h"

/* The rows and columns of a window that lie inside the image. */
struct area {
    uint32_t y, x, h, w;
};

static struct area clipped(const struct td_window *w, uint32_t i, uint32_t j)
{
    int32_t y = (int32_t)(i * w->stride_h) - w->pad_top, x = (int32_t)(j * w->stride_w) - w->pad_left;
    int32_t y0, y1, x0, x1;
    td_window_clip(y, w->k_h, w->in_h, &y0, &y1);
    td_window_clip(x, w->k_w, w->in_w, &x0, &x1);
    struct area a = {(uint32_t)(y + y0), (uint32_t)(x + x0), (uint32_t)(y1 - y0),
                     (uint32_t)(x1 - x0)};
    return a;
}

/* Rounded to the nearest, ties away from zero. */
static int32_t rounded_quotient(int32_t sum, int32_t count)
{
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

#define TD_DEFINE_POOLS(suffix, type, lowest)                                                     \
    static int32_t sum_##suffix(const type *in, const struct area *a, uint32_t row, uint32_t c)   \
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
    static int32_t max_##suffix(const type *in, const struct area *a, uint32_t row, uint32_t c)   \
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
                    struct area a = clipped(w, i, j);                                             \
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
                    struct area a = clipped(w, i, j);                                             \
                    const type *from = in + a.y * row + a.x * w->in_c;                            \
                    for (uint32_t c = 0; c < w->in_c; c++)                                        \
                        *out++ = (type)td_clamp(max_##suffix(from + c, &a, row, w->in_c),         \
                                                p->out_min, p->out_max);                          \
                }                                                                                 \
    }

TD_DEFINE_POOLS(s8, int8_t, INT8_MIN)

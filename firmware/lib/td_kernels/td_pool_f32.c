/* AVERAGE_POOL_2D and MAX_POOL_2D of floats. Positions outside the image are left out. */
#include <float.h>

#include "td_float.h"
#include "td_window.h"

static float average(const float *in, const struct td_area *a, uint32_t row, uint32_t c)
{
    float sum = 0.0f;
    for (uint32_t y = 0; y < a->h; y++, in += row)
        for (uint32_t x = 0; x < a->w; x++)
            sum += in[x * c];
    return sum / (float)(a->h * a->w);
}

static float maximum(const float *in, const struct td_area *a, uint32_t row, uint32_t c)
{
    float max = -FLT_MAX;
    for (uint32_t y = 0; y < a->h; y++, in += row)
        for (uint32_t x = 0; x < a->w; x++)
            max = in[x * c] > max ? in[x * c] : max;
    return max;
}

static void pool(const struct td_pool_f32 *p, const float *in, float *out,
                 float (*reduce)(const float *, const struct td_area *, uint32_t, uint32_t))
{
    const struct td_window *w = &p->window;
    uint32_t row = (uint32_t)w->in_w * w->in_c;
    for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * row)
        for (uint32_t i = 0; i < w->out_h; i++)
            for (uint32_t j = 0; j < w->out_w; j++) {
                struct td_area a = td_window_clipped(w, i, j);
                const float *from = in + a.y * row + a.x * w->in_c;
                for (uint32_t c = 0; c < w->in_c; c++) {
                    float x = reduce(from + c, &a, row, w->in_c);
                    *out++ = td_clampf(x, p->out_min, p->out_max);
                }
            }
}

void td_average_pool_f32(const struct td_pool_f32 *p, const float *in, float *out)
{
    pool(p, in, out, average);
}

void td_max_pool_f32(const struct td_pool_f32 *p, const float *in, float *out)
{
    pool(p, in, out, maximum);
}

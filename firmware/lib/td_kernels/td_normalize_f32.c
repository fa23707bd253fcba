/* L2_NORMALIZATION, LOG_SOFTMAX and L2_POOL_2D of floats. */
#include "td_float.h"
#include "td_kernels.h"
#include "td_math.h"
#include "td_window.h"

void td_l2_normalization_f32(const struct td_rows *p, const float *in, float *out)
{
    for (uint32_t r = 0; r < p->rows; r++, in += p->depth, out += p->depth) {
        float sum = 0.0f;
        for (uint32_t i = 0; i < p->depth; i++)
            sum += in[i] * in[i];
        float norm = td_sqrtf(sum);
        norm = norm > 1e-6f ? norm : 1e-6f;
        for (uint32_t i = 0; i < p->depth; i++)
            out[i] = in[i] / norm;
    }
}

void td_log_softmax_f32(const struct td_rows *p, const float *in, float *out)
{
    for (uint32_t r = 0; r < p->rows; r++, in += p->depth, out += p->depth) {
        float max = in[0], sum = 0.0f;
        for (uint32_t i = 1; i < p->depth; i++)
            max = in[i] > max ? in[i] : max;
        for (uint32_t i = 0; i < p->depth; i++)
            sum += td_expf(in[i] - max);
        float log = td_logf(sum);
        for (uint32_t i = 0; i < p->depth; i++)
            out[i] = in[i] - max - log;
    }
}

static float mean_square(const float *in, const struct td_area *a, uint32_t row, uint32_t c)
{
    float sum = 0.0f;
    for (uint32_t y = 0; y < a->h; y++, in += row)
        for (uint32_t x = 0; x < a->w; x++)
            sum += in[x * c] * in[x * c];
    return sum / (float)(a->h * a->w);
}

void td_l2_pool_f32(const struct td_pool_f32 *p, const float *in, float *out)
{
    const struct td_window *w = &p->window;
    uint32_t row = (uint32_t)w->in_w * w->in_c;
    for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * row)
        for (uint32_t i = 0; i < w->out_h; i++)
            for (uint32_t j = 0; j < w->out_w; j++) {
                struct td_area a = td_window_clipped(w, i, j);
                const float *from = in + a.y * row + a.x * w->in_c;
                for (uint32_t c = 0; c < w->in_c; c++)
                    *out++ = td_clampf(td_sqrtf(mean_square(from + c, &a, row, w->in_c)),
                                       p->out_min, p->out_max);
            }
}

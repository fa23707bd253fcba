/* AVERAGE_POOL_2D, MAX_POOL_2D and MEAN with Helium: lanes are channels. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>

#include "td_fixedpoint.h"
#include "td_window.h"

/* Sums of up to four channels over an area, whose rows begin `row` bytes apart. */
static void sum_four(const int8_t *in, uint32_t h, uint32_t w, uint32_t row, uint32_t pixel,
                     uint32_t channels, int32_t sums[4])
{
    mve_pred16_t lanes = vctp32q(channels);
    int32x4_t sum = vdupq_n_s32(0);
    if (row == w * pixel) {     /* whole rows are one */
        w *= h;
        h = 1;
    }
    for (; h > 0; h--, in += row) {
        const int8_t *x = in;
        for (uint32_t n = w; n > 0; n--, x += pixel)
            sum = vaddq_s32(sum, vldrbq_z_s32(x, lanes));
    }
    vst1q_s32(sums, sum);
}

void td_average_pool_s8_mve(const struct td_pool_int *p, const int8_t *in, int8_t *out)
{
    const struct td_window *w = &p->window;
    uint32_t pixel = w->in_c, row = w->in_w * pixel;
    for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * row)
        for (uint32_t i = 0; i < w->out_h; i++)
            for (uint32_t j = 0; j < w->out_w; j++) {
                struct td_area a = td_window_clipped(w, i, j);
                const int8_t *from = in + a.y * row + a.x * pixel;
                int32_t count = (int32_t)(a.h * a.w);
                for (uint32_t c = 0; c < pixel; c += 4) {
                    int32_t sums[4];
                    sum_four(from + c, a.h, a.w, row, pixel, pixel - c, sums);
                    for (uint32_t n = 0; n < 4 && c + n < pixel; n++) {
                        int32_t half = sums[n] > 0 ? count / 2 : -(count / 2);
                        *out++ = (int8_t)td_clamp((sums[n] + half) / count, p->out_min, p->out_max);
                    }
                }
            }
}

void td_max_pool_s8_mve(const struct td_pool_int *p, const int8_t *in, int8_t *out)
{
    const struct td_window *w = &p->window;
    uint32_t pixel = w->in_c, row = w->in_w * pixel;
    int8x16_t low = vdupq_n_s8((int8_t)p->out_min), high = vdupq_n_s8((int8_t)p->out_max);
    for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * row)
        for (uint32_t i = 0; i < w->out_h; i++)
            for (uint32_t j = 0; j < w->out_w; j++, out += pixel) {
                struct td_area a = td_window_clipped(w, i, j);
                const int8_t *from = in + a.y * row + a.x * pixel;
                for (uint32_t c = 0; c < pixel; c += 16) {
                    mve_pred16_t lanes = vctp8q(pixel - c);
                    int8x16_t max = low;
                    for (uint32_t y = 0; y < a.h; y++)
                        for (uint32_t x = 0; x < a.w; x++)
                            max = vmaxq_s8(max, vldrbq_z_s8(from + y * row + x * pixel + c, lanes));
                    vstrbq_p_s8(out + c, vminq_s8(max, high), lanes);
                }
            }
}

void td_mean_s8_mve(const struct td_mean_int *p, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < p->outer; i++, in += p->reduced * p->inner)
        for (uint32_t c = 0; c < p->inner; c += 4) {
            int32_t sums[4];
            sum_four(in + c, 1, p->reduced, 0, p->inner, p->inner - c, sums);
            for (uint32_t n = 0; n < 4 && c + n < p->inner; n++) {
                int32_t q = td_requantize(sums[n] - p->zero_sum, p->multiplier, p->down);
                *out++ = (int8_t)td_clamp(q + p->out_zero, INT8_MIN, INT8_MAX);
            }
        }
}
#endif

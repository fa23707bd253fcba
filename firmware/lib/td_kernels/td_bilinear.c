/* RESIZE_BILINEAR. */
#include "td_kernels.h"

/* Weights are in 1/1024, so the sum is in 2^-20; rounded to the nearest, ties away from zero. */
static int8_t rounded(int32_t sum)
{
    return (int8_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
}

void td_bilinear_s8(const struct td_bilinear_s8 *p, const int8_t *in, int8_t *out)
{
    uint32_t line = (uint32_t)p->in_w * p->channels;
    for (uint32_t b = 0; b < p->batches; b++, in += p->in_h * line)
        for (uint32_t i = 0; i < p->out_h; i++)
            for (uint32_t j = 0; j < p->out_w; j++) {
                const int16_t *r = p->rows + 3 * i, *q = p->columns + 3 * j;
                const int8_t *above = in + (uint32_t)r[0] * line;
                const int8_t *below = in + (uint32_t)r[1] * line;
                uint32_t left = (uint32_t)q[0] * p->channels, right = (uint32_t)q[1] * p->channels;
                for (uint32_t c = 0; c < p->channels; c++) {
                    int32_t x = above[left + c] * (1024 - r[2]) + below[left + c] * r[2];
                    int32_t y = above[right + c] * (1024 - r[2]) + below[right + c] * r[2];
                    *out++ = rounded(x * (1024 - q[2]) + y * q[2]);
                }
            }
}

void td_bilinear_f32(const struct td_bilinear_f32 *p, const float *in, float *out)
{
    uint32_t line = (uint32_t)p->in_w * p->channels;
    for (uint32_t b = 0; b < p->batches; b++, in += p->in_h * line)
        for (uint32_t i = 0; i < p->out_h; i++)
            for (uint32_t j = 0; j < p->out_w; j++) {
                const int16_t *r = p->rows + 2 * i, *q = p->columns + 2 * j;
                const float *above = in + (uint32_t)r[0] * line;
                const float *below = in + (uint32_t)r[1] * line;
                uint32_t left = (uint32_t)q[0] * p->channels, right = (uint32_t)q[1] * p->channels;
                float v = p->row_weights[i], h = p->column_weights[j];
                for (uint32_t c = 0; c < p->channels; c++)
                    *out++ = above[left + c] * (1.0f - v) * (1.0f - h) +
                             below[left + c] * v * (1.0f - h) +
                             above[right + c] * (1.0f - v) * h + below[right + c] * v * h;
            }
}

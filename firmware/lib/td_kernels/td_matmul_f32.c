/* FULLY_CONNECTED and CONV_2D in float: products are added in the order of the weights, the bias
 * last. */
#include "td_matmul.h"

static float finish(const struct td_matmul_f32 *p, float sum, uint32_t c)
{
    float x = sum + p->bias[c];
    return x < p->out_min ? p->out_min : x > p->out_max ? p->out_max : x;
}

static void four_channels(const struct td_matmul_f32 *p, const float *x, const float *w,
                          uint32_t c, float *out)
{
    float acc0 = 0.0f, acc1 = 0.0f, acc2 = 0.0f, acc3 = 0.0f;
    for (uint32_t n = p->depth; n > 0; n--, x++, w += 4) {
        float v = *x;
        acc0 += v * w[0];
        acc1 += v * w[1];
        acc2 += v * w[2];
        acc3 += v * w[3];
    }
    out[c] = finish(p, acc0, c);
    out[c + 1] = finish(p, acc1, c + 1);
    out[c + 2] = finish(p, acc2, c + 2);
    out[c + 3] = finish(p, acc3, c + 3);
}

void td_matmul_row_f32(const struct td_matmul_f32 *p, const float *x, float *out)
{
    const float *w = p->weights;
    uint32_t c = 0;
    for (; c + 4 <= p->channels; c += 4, w += 4 * p->depth)
        four_channels(p, x, w, c, out);
    for (; c < p->channels; c++, w += p->depth) {
        float acc = 0.0f;
        for (uint32_t k = 0; k < p->depth; k++)
            acc += x[k] * w[k];
        out[c] = finish(p, acc, c);
    }
}

void td_matmul_f32(const struct td_matmul_f32 *p, const float *in, float *out)
{
    for (uint32_t row = 0; row < p->rows; row++, in += p->depth, out += p->channels)
        td_matmul_row_f32(p, in, out);
}

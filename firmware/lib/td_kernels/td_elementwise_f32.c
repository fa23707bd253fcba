/* RELU, RELU6, LOGISTIC, SOFTMAX and MEAN of floats, and QUANTIZE and DEQUANTIZE. */
#include "td_fixedpoint.h"
#include "td_float.h"

void td_clamp_f32(const struct td_clamp_f32 *p, const float *in, float *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = td_clampf(in[i], p->out_min, p->out_max);
}

void td_logistic_f32(const struct td_elements *p, const float *in, float *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = in[i] < -9.0f ? td_expf(in[i]) : 1.0f / (1.0f + td_expf(-in[i]));
}

static void softmax_row(const struct td_softmax_f32 *p, const float *in, float *out)
{
    float max = in[0];
    for (uint32_t i = 1; i < p->depth; i++)
        max = in[i] > max ? in[i] : max;
    float sum = 0.0f;
    for (uint32_t i = 0; i < p->depth; i++) {
        out[i] = td_expf((in[i] - max) * p->beta);
        sum += out[i];
    }
    for (uint32_t i = 0; i < p->depth; i++)
        out[i] = out[i] / sum;
}

void td_softmax_f32(const struct td_softmax_f32 *p, const float *in, float *out)
{
    for (uint32_t row = 0; row < p->rows; row++, in += p->depth, out += p->depth)
        softmax_row(p, in, out);
}

void td_mean_f32(const struct td_mean_f32 *p, const float *in, float *out)
{
    for (uint32_t o = 0; o < p->outer; o++, in += p->reduced * p->inner)
        for (uint32_t c = 0; c < p->inner; c++) {
            const float *x = in + c;
            float sum = 0.0f;
            for (uint32_t n = p->reduced; n > 0; n--, x += p->inner)
                sum += *x;
            *out++ = sum / (float)p->reduced;
        }
}

/* round(x / scale) + zero, ties away from zero; what an int32 cannot hold saturates, and not a
 * number becomes the lowest. */
static int32_t quantize(const struct td_affine *p, float x)
{
    const float limit = 0x1p30f;
    float scaled = x / p->scale;
    if (scaled >= limit)
        return 1 << 30;
    if (!(scaled > -limit))
        return -(1 << 30);
    int32_t whole = (int32_t)scaled;
    float rest = scaled - (float)whole;
    if (rest >= 0.5f)
        whole++;
    else if (rest <= -0.5f)
        whole--;
    return whole + p->zero;
}

void td_quantize_s8(const struct td_affine *p, const float *in, int8_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = (int8_t)td_clamp(quantize(p, in[i]), INT8_MIN, INT8_MAX);
}

void td_quantize_s16(const struct td_affine *p, const float *in, int16_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = (int16_t)td_clamp(quantize(p, in[i]), INT16_MIN, INT16_MAX);
}

void td_dequantize_s8(const struct td_affine *p, const int8_t *in, float *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = p->scale * (float)(in[i] - p->zero);
}

void td_dequantize_s16(const struct td_affine *p, const int16_t *in, float *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = p->scale * (float)(in[i] - p->zero);
}

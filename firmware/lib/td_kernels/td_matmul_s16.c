/* FULLY_CONNECTED and CONV_2D with int16 activations and int8 weights. Products are summed in 32
 * bits as long as that cannot overflow, then in 64. */
#include "td_fixedpoint.h"
#include "td_matmul.h"

/* 2^7 * 2^15 * 256 = 2^30 */
#define TD_CHUNK 256u

static uint32_t chunk(uint32_t left)
{
    return left < TD_CHUNK ? left : TD_CHUNK;
}

static void four_channels(const struct td_matmul_s16 *p, const int16_t *x, const int8_t *w,
                          uint32_t c, int16_t *out)
{
    int64_t sum[4] = {p->bias[c], p->bias[c + 1], p->bias[c + 2], p->bias[c + 3]};
    for (uint32_t left = p->depth; left > 0;) {
        int32_t acc0 = 0, acc1 = 0, acc2 = 0, acc3 = 0;
        uint32_t n = chunk(left);
        left -= n;
        for (; n > 0; n--, x++, w += 4) {
            int32_t v = *x;
            acc0 += v * w[0];
            acc1 += v * w[1];
            acc2 += v * w[2];
            acc3 += v * w[3];
        }
        sum[0] += acc0;
        sum[1] += acc1;
        sum[2] += acc2;
        sum[3] += acc3;
    }
    for (uint32_t i = 0; i < 4; i++)
        out[c + i] = td_scale_channel_s16(&p->scale, sum[i], c + i);
}

static void one_channel(const struct td_matmul_s16 *p, const int16_t *x, const int8_t *w,
                        uint32_t c, int16_t *out)
{
    int64_t sum = p->bias[c];
    for (uint32_t left = p->depth; left > 0;) {
        int32_t acc = 0;
        uint32_t n = chunk(left);
        left -= n;
        for (; n > 0; n--)
            acc += *x++ * *w++;
        sum += acc;
    }
    out[c] = td_scale_channel_s16(&p->scale, sum, c);
}

void td_matmul_row_s16(const struct td_matmul_s16 *p, const int16_t *x, int16_t *out)
{
    const int8_t *w = p->weights;
    uint32_t c = 0;
    for (; c + 4 <= p->channels; c += 4, w += 4 * p->depth)
        four_channels(p, x, w, c, out);
    for (; c < p->channels; c++, w += p->depth)
        one_channel(p, x, w, c, out);
}

void td_matmul_s16(const struct td_matmul_s16 *p, const int16_t *in, int16_t *out)
{
    for (uint32_t row = 0; row < p->rows; row++, in += p->depth, out += p->channels)
        td_matmul_row_s16(p, in, out);
}

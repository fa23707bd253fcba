/* FULLY_CONNECTED and CONV_2D in int8: every output is the dot product of a vector with one
 * channel's weights. Four channels at a time: one load of the input serves four multiplications. */
#include "td_fixedpoint.h"
#include "td_matmul.h"
#include "td_window.h"

#define TD_STEP(k)                      \
    do {                                \
        int32_t v = x[k];               \
        acc0 += v * w[4 * (k)];         \
        acc1 += v * w[4 * (k) + 1];     \
        acc2 += v * w[4 * (k) + 2];     \
        acc3 += v * w[4 * (k) + 3];     \
    } while (0)

static void four_channels(const struct td_matmul_s8 *p, const int8_t *x, const int8_t *w,
                          uint32_t c, int8_t *out)
{
    int32_t acc0 = p->bias[c], acc1 = p->bias[c + 1], acc2 = p->bias[c + 2], acc3 = p->bias[c + 3];
    uint32_t n = p->depth;
#if !defined(__OPTIMIZE_SIZE__)
    for (; n >= 4; n -= 4, x += 4, w += 16) {
        TD_STEP(0);
        TD_STEP(1);
        TD_STEP(2);
        TD_STEP(3);
    }
#endif
    for (; n > 0; n--, x++, w += 4)
        TD_STEP(0);
    td_scale_four(&p->scale, acc0, acc1, acc2, acc3, c, out);
}

void td_matmul_row_s8(const struct td_matmul_s8 *p, const int8_t *x, int8_t *out)
{
    const int8_t *w = p->weights;
    uint32_t c = 0;
    for (; c + 4 <= p->channels; c += 4, w += 4 * p->depth)
        four_channels(p, x, w, c, out);
    for (; c < p->channels; c++, w += p->depth) {
        int32_t acc = p->bias[c];
        for (uint32_t k = 0; k < p->depth; k++)
            acc += x[k] * w[k];
        out[c] = (int8_t)td_scale_channel(&p->scale, acc, c);
    }
}

void td_matmul_s8(const struct td_matmul_s8 *p, const int8_t *in, int8_t *out)
{
    for (uint32_t row = 0; row < p->rows; row++, in += p->depth, out += p->channels)
        td_matmul_row_s8(p, in, out);
}

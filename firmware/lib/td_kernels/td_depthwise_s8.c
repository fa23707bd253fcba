/* DEPTHWISE_CONV_2D in int8, four channels at a time where each input channel has one output. */
#include "td_fixedpoint.h"
#include "td_window.h"

/* Where a window's taps are: inside the image, or gathered in a patch. */
struct taps {
    const int8_t *first;
    uint32_t row_step, column_step;
};

static void four_channels(const struct td_depthwise_s8 *p, const struct taps *t, uint32_t c,
                          int8_t *out)
{
    int32_t acc0 = p->bias[c], acc1 = p->bias[c + 1], acc2 = p->bias[c + 2], acc3 = p->bias[c + 3];
    const int8_t *row = t->first + c;
    const int8_t *w = p->weights + c;
    uint32_t channels = p->window.out_c;
    for (uint32_t i = p->window.k_h; i > 0; i--, row += t->row_step) {
        const int8_t *x = row;
        for (uint32_t j = p->window.k_w; j > 0; j--, x += t->column_step, w += channels) {
            acc0 += x[0] * w[0];
            acc1 += x[1] * w[1];
            acc2 += x[2] * w[2];
            acc3 += x[3] * w[3];
        }
    }
    out[c] = (int8_t)td_scale_channel(&p->scale, acc0, c);
    out[c + 1] = (int8_t)td_scale_channel(&p->scale, acc1, c + 1);
    out[c + 2] = (int8_t)td_scale_channel(&p->scale, acc2, c + 2);
    out[c + 3] = (int8_t)td_scale_channel(&p->scale, acc3, c + 3);
}

static void one_channel(const struct td_depthwise_s8 *p, const struct taps *t, uint32_t c,
                        uint32_t in_c, int8_t *out)
{
    int32_t acc = p->bias[c];
    const int8_t *row = t->first + in_c;
    const int8_t *w = p->weights + c;
    for (uint32_t i = 0; i < p->window.k_h; i++, row += t->row_step) {
        const int8_t *x = row;
        for (uint32_t j = 0; j < p->window.k_w; j++, x += t->column_step, w += p->window.out_c)
            acc += *x * *w;
    }
    out[c] = (int8_t)td_scale_channel(&p->scale, acc, c);
}

static void one_pixel(const struct td_depthwise_s8 *p, const struct taps *t, int8_t *out)
{
    uint32_t c = 0, channels = p->window.out_c;
    if (p->multiplier == 1) {
        for (; c + 4 <= channels; c += 4)
            four_channels(p, t, c, out);
        for (; c < channels; c++)
            one_channel(p, t, c, c, out);
        return;
    }
    for (uint32_t in_c = 0; in_c < p->window.in_c; in_c++)
        for (uint32_t m = 0; m < p->multiplier; m++, c++)
            one_channel(p, t, c, in_c, out);
}

void td_depthwise_s8(const struct td_depthwise_s8 *p, const int8_t *in, int8_t *out, int8_t *patch)
{
    const struct td_window *w = &p->window;
    uint32_t in_row = (uint32_t)w->in_w * w->in_c;
    struct taps direct = {in, w->dilation_h * in_row, (uint32_t)w->dilation_w * w->in_c};
    struct taps gathered = {patch, (uint32_t)w->k_w * w->in_c, w->in_c};
    for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * in_row) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
            int32_t x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, out += w->out_c) {
                if (td_window_inside(w, y, x)) {
                    direct.first = in + (uint32_t)y * in_row + (uint32_t)x * w->in_c;
                    one_pixel(p, &direct, out);
                } else {
                    td_window_gather(w, w->in_c, (const uint8_t *)in, y, x, p->in_zero,
                                     (uint8_t *)patch);
                    one_pixel(p, &gathered, out);
                }
            }
        }
    }
}

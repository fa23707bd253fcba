/* DEPTHWISE_CONV_2D, four channels at a time where each input channel has one output. Windows
 * inside the image are read where they are, others are gathered in a patch. */
#include "td_fixedpoint.h"
#include "td_window.h"

/* Where a window's taps are. Steps are in elements. */
struct taps {
    const void *first;
    uint32_t row_step, column_step;
};

static int8_t finish_s8(const struct td_depthwise_s8 *p, int32_t sum, uint32_t c)
{
    return (int8_t)td_scale_channel(&p->scale, sum + p->bias[c], c);
}

/* At most 65,535 taps of 2^22 each: more than 32 bits hold. */
static int16_t finish_s16(const struct td_depthwise_s16 *p, int64_t sum, uint32_t c)
{
    return td_scale_channel_s16(&p->scale, sum + p->bias[c], c);
}

static float finish_f32(const struct td_depthwise_f32 *p, float sum, uint32_t c)
{
    float x = sum + p->bias[c];
    return x < p->out_min ? p->out_min : x > p->out_max ? p->out_max : x;
}

#define TD_DEFINE_DEPTHWISE(suffix, type, weight, sum, product, zero)                             \
    static void four_##suffix(const struct td_depthwise_##suffix *p, const struct taps *t,        \
                              uint32_t c, type *out)                                              \
    {                                                                                             \
        sum acc0 = 0, acc1 = 0, acc2 = 0, acc3 = 0;                                               \
        const type *row = (const type *)t->first + c;                                             \
        const weight *w = p->weights + c;                                                         \
        uint32_t channels = p->window.out_c;                                                      \
        for (uint32_t i = p->window.k_h; i > 0; i--, row += t->row_step) {                        \
            const type *x = row;                                                                  \
            for (uint32_t j = p->window.k_w; j > 0; j--, x += t->column_step, w += channels) {    \
                acc0 += (product)x[0] * w[0];                                                     \
                acc1 += (product)x[1] * w[1];                                                     \
                acc2 += (product)x[2] * w[2];                                                     \
                acc3 += (product)x[3] * w[3];                                                     \
            }                                                                                     \
        }                                                                                         \
        out[c] = finish_##suffix(p, acc0, c);                                                     \
        out[c + 1] = finish_##suffix(p, acc1, c + 1);                                             \
        out[c + 2] = finish_##suffix(p, acc2, c + 2);                                             \
        out[c + 3] = finish_##suffix(p, acc3, c + 3);                                             \
    }                                                                                             \
                                                                                                  \
    static void one_##suffix(const struct td_depthwise_##suffix *p, const struct taps *t,         \
                             uint32_t c, uint32_t in_c, type *out)                                \
    {                                                                                             \
        sum acc = 0;                                                                              \
        const type *row = (const type *)t->first + in_c;                                          \
        const weight *w = p->weights + c;                                                         \
        for (uint32_t i = p->window.k_h; i > 0; i--, row += t->row_step) {                        \
            const type *x = row;                                                                  \
            uint32_t j = p->window.k_w;                                                           \
            for (; j > 0; j--, x += t->column_step, w += p->window.out_c)                         \
                acc += (product)*x * *w;                                                          \
        }                                                                                         \
        out[c] = finish_##suffix(p, acc, c);                                                      \
    }                                                                                             \
                                                                                                  \
    static void pixel_##suffix(const struct td_depthwise_##suffix *p, const struct taps *t,       \
                               type *out)                                                         \
    {                                                                                             \
        uint32_t c = 0;                                                                           \
        if (p->multiplier == 1)                                                                   \
            for (; c + 4 <= p->window.out_c; c += 4)                                              \
                four_##suffix(p, t, c, out);                                                      \
        for (uint32_t in_c = c; in_c < p->window.in_c; in_c++)                                    \
            for (uint32_t m = 0; m < p->multiplier; m++, c++)                                     \
                one_##suffix(p, t, c, in_c, out);                                                 \
    }                                                                                             \
                                                                                                  \
    void td_depthwise_##suffix(const struct td_depthwise_##suffix *p, const type *in, type *out,  \
                               type *patch)                                                       \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t in_row = (uint32_t)w->in_w * w->in_c;                                            \
        uint32_t pixel_bytes = w->in_c * (uint32_t)sizeof(type);                                  \
        struct taps direct = {in, w->dilation_h * in_row, (uint32_t)w->dilation_w * w->in_c};     \
        struct taps gathered = {patch, (uint32_t)w->k_w * w->in_c, w->in_c};                      \
        for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * in_row) {                       \
            int32_t y = -(int32_t)w->pad_top;                                                     \
            for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {                           \
                int32_t x = -(int32_t)w->pad_left;                                                \
                for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, out += w->out_c) {      \
                    if (td_window_inside(w, y, x)) {                                              \
                        direct.first = in + (uint32_t)y * in_row + (uint32_t)x * w->in_c;         \
                        pixel_##suffix(p, &direct, out);                                          \
                    } else {                                                                      \
                        td_window_gather(w, pixel_bytes, in, y, x, zero, patch);                  \
                        pixel_##suffix(p, &gathered, out);                                        \
                    }                                                                             \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
    }

TD_DEFINE_DEPTHWISE(s8, int8_t, int8_t, int32_t, int32_t, p->in_zero)
TD_DEFINE_DEPTHWISE(s16, int16_t, int8_t, int64_t, int32_t, 0)
TD_DEFINE_DEPTHWISE(f32, float, float, float, float, 0)

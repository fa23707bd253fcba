/* DEPTHWISE_CONV_2D, four channels at a time where each input channel has one output.
 *
 * For each output pixel the taps of its window are listed, as offsets from the image's start. Taps
 * outside the image lead to a pixel of zeros (in int8: zero points, for which the bias is already
 * corrected), so that borders need no case of their own. */
#include "td_fixedpoint.h"
#include "td_window.h"

/* Offsets, in elements, of the window whose corner is at (y, x). */
static void list_taps(const struct td_window *w, int32_t y, int32_t x, int32_t outside,
                      int32_t *tap)
{
    int32_t row_step = w->in_w * w->in_c;
    for (uint32_t i = w->k_h; i > 0; i--, y += w->dilation_h) {
        int32_t column = x;
        for (uint32_t j = w->k_w; j > 0; j--, column += w->dilation_w) {
            int inside = y >= 0 && y < w->in_h && column >= 0 && column < w->in_w;
            *tap++ = inside ? y * row_step + column * w->in_c : outside;
        }
    }
}

/* One step to the right inside the image. */
static void move_taps(int32_t *tap, uint32_t count, int32_t step)
{
    for (; count > 0; count--)
        *tap++ += step;
}

TD_INLINE int8_t finish_s8(const struct td_depthwise_s8 *p, int32_t sum, uint32_t c)
{
    return (int8_t)td_scale_channel(&p->scale, sum, c);
}

TD_INLINE int16_t finish_s16(const struct td_depthwise_s16 *p, int64_t sum, uint32_t c)
{
    return td_scale_channel_s16(&p->scale, sum, c);
}

TD_INLINE float finish_f32(const struct td_depthwise_f32 *p, float sum, uint32_t c)
{
    float x = sum + p->bias[c];
    return x < p->out_min ? p->out_min : x > p->out_max ? p->out_max : x;
}

TD_INLINE void finish_four_s8(const struct td_depthwise_s8 *p, int32_t acc0, int32_t acc1,
                              int32_t acc2, int32_t acc3, uint32_t c, int8_t *out)
{
    td_scale_four(&p->scale, acc0, acc1, acc2, acc3, c, out);
}

TD_INLINE void finish_four_s16(const struct td_depthwise_s16 *p, int64_t acc0, int64_t acc1,
                               int64_t acc2, int64_t acc3, uint32_t c, int16_t *out)
{
    out[c] = finish_s16(p, acc0, c);
    out[c + 1] = finish_s16(p, acc1, c + 1);
    out[c + 2] = finish_s16(p, acc2, c + 2);
    out[c + 3] = finish_s16(p, acc3, c + 3);
}

TD_INLINE void finish_four_f32(const struct td_depthwise_f32 *p, float acc0, float acc1,
                               float acc2, float acc3, uint32_t c, float *out)
{
    out[c] = finish_f32(p, acc0, c);
    out[c + 1] = finish_f32(p, acc1, c + 1);
    out[c + 2] = finish_f32(p, acc2, c + 2);
    out[c + 3] = finish_f32(p, acc3, c + 3);
}

/* `start` is what a sum begins with, `product` the type of one product. */
#define TD_DEFINE_DEPTHWISE(suffix, type, weight, sum, product, start, zero)                      \
    static void four_##suffix(const struct td_depthwise_##suffix *p, const type *in,              \
                              const int32_t *tap, const int32_t *end, uint32_t c, type *out)      \
    {                                                                                             \
        sum acc0 = start(c), acc1 = start(c + 1), acc2 = start(c + 2), acc3 = start(c + 3);       \
        const weight *w = p->weights + c;                                                         \
        uint32_t channels = p->window.out_c;                                                      \
        in += c;                                                                                  \
        do {                                                                                      \
            const type *x = in + *tap++;                                                          \
            acc0 += (product)x[0] * w[0];                                                         \
            acc1 += (product)x[1] * w[1];                                                         \
            acc2 += (product)x[2] * w[2];                                                         \
            acc3 += (product)x[3] * w[3];                                                         \
            w += channels;                                                                        \
        } while (tap != end);                                                                     \
        finish_four_##suffix(p, acc0, acc1, acc2, acc3, c, out);                                  \
    }                                                                                             \
                                                                                                  \
    static void one_##suffix(const struct td_depthwise_##suffix *p, const type *in,               \
                             const int32_t *tap, const int32_t *end, uint32_t c, type *out)       \
    {                                                                                             \
        sum acc = start(c);                                                                       \
        const weight *w = p->weights + c;                                                         \
        for (; tap != end; w += p->window.out_c)                                                  \
            acc += (product)in[*tap++] * *w;                                                      \
        out[c] = finish_##suffix(p, acc, c);                                                      \
    }                                                                                             \
                                                                                                  \
    static void pixel_##suffix(const struct td_depthwise_##suffix *p, const type *in,             \
                               const int32_t *tap, type *out)                                     \
    {                                                                                             \
        const int32_t *end = tap + (uint32_t)p->window.k_h * p->window.k_w;                       \
        uint32_t c = 0;                                                                           \
        if (p->multiplier == 1)                                                                   \
            for (; c + 4 <= p->window.out_c; c += 4)                                              \
                four_##suffix(p, in, tap, end, c, out);                                           \
        for (uint32_t in_c = c; in_c < p->window.in_c; in_c++)                                    \
            for (uint32_t m = 0; m < p->multiplier; m++, c++)                                     \
                one_##suffix(p, in + in_c, tap, end, c, out);                                     \
    }                                                                                             \
                                                                                                  \
    void td_depthwise_##suffix(const struct td_depthwise_##suffix *p, const type *in, type *out,  \
                               void *scratch)                                                     \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        int32_t *taps = scratch;                                                                  \
        uint32_t count = (uint32_t)w->k_h * w->k_w;                                               \
        type *outside = (type *)(taps + count);                                                   \
        int zeros_written = 0;                                                                    \
        for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {  \
            int32_t y = -(int32_t)w->pad_top;                                                     \
            for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {                           \
                int32_t x = -(int32_t)w->pad_left;                                                \
                int was_inside = 0;                                                               \
                for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, out += w->out_c) {      \
                    int inside = td_window_inside(w, y, x);                                       \
                    if (!inside && !zeros_written) {                                              \
                        for (uint32_t c = 0; c < w->in_c; c++)                                    \
                            outside[c] = zero;                                                    \
                        zeros_written = 1;                                                        \
                    }                                                                             \
                    if (inside && was_inside)                                                     \
                        move_taps(taps, count, w->stride_w * w->in_c);                            \
                    else                                                                          \
                        list_taps(w, y, x, (int32_t)(outside - in), taps);                        \
                    was_inside = inside;                                                          \
                    pixel_##suffix(p, in, taps, out);                                             \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
    }

#define TD_BIAS(c) p->bias[c]
#define TD_ZERO(c) 0.0f

TD_DEFINE_DEPTHWISE(s8, int8_t, int8_t, int32_t, int32_t, TD_BIAS, p->in_zero)
TD_DEFINE_DEPTHWISE(s16, int16_t, int8_t, int64_t, int32_t, TD_BIAS, 0)
TD_DEFINE_DEPTHWISE(f32, float, float, float, float, TD_ZERO, 0.0f)

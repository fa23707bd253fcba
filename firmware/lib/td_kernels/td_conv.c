/* CONV_2D: every window is gathered in a patch, and the patch multiplied as a vector. A border
 * needs no case of its own: outside the image a patch holds zero, which in int8 is the zero point,
 * for which the bias is already corrected. */
#include "td_matmul.h"
#include "td_window.h"

#define TD_DEFINE_CONV(suffix, type, zero)                                                        \
    void td_conv_##suffix(const struct td_conv_##suffix *p, const type *in, type *out,            \
                          type *patch)                                                            \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t pixel_bytes = w->in_c * (uint32_t)sizeof(type);                                  \
        for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {  \
            int32_t y = -(int32_t)w->pad_top;                                                     \
            for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {                           \
                int32_t x = -(int32_t)w->pad_left;                                                \
                for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, out += w->out_c) {      \
                    td_window_gather(w, pixel_bytes, in, y, x, zero, patch);                      \
                    td_matmul_row_##suffix(&p->product, patch, out);                              \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
    }

TD_DEFINE_CONV(s8, int8_t, p->in_zero)
TD_DEFINE_CONV(s16, int16_t, 0)
TD_DEFINE_CONV(f32, float, 0)

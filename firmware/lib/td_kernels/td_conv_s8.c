/* CONV_2D in int8. A border needs no case of its own: outside the image a patch holds the zero
 * point, for which the bias is already corrected. */
#include "td_matmul.h"
#include "td_window.h"

void td_conv_s8(const struct td_conv_s8 *p, const int8_t *in, int8_t *out, int8_t *patch)
{
    const struct td_window *w = &p->window;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
            int32_t x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, out += w->out_c) {
                td_window_gather(w, w->in_c, (const uint8_t *)in, y, x, p->in_zero,
                                 (uint8_t *)patch);
                td_matmul_row_s8(&p->product, patch, out);
            }
        }
    }
}

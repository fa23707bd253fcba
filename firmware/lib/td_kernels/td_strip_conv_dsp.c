/* CONV_2D with the DSP extension where pixels are not whole groups of 4 inputs: mostly a network's
 * first layer. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_product_dsp.h"

/* The k_h rows from y on, zero points around them. */
static void copy_rows(const struct td_strip_conv_s8_dsp *p, const int8_t *image, int32_t y,
                      int8_t *strip)
{
    const struct td_window *w = &p->window;
    uint32_t before = (uint32_t)w->pad_left * w->in_c, row = (uint32_t)w->in_w * w->in_c;
    uint32_t inside = row < p->strip_row - before ? row : p->strip_row - before;
    uint32_t after = p->strip_row - before - inside;
    for (uint32_t i = w->k_h; i > 0; i--, y++, strip += p->strip_row) {
        if (y < 0 || y >= w->in_h) {
            memset(strip, p->in_zero, p->strip_row);
            continue;
        }
        memset(strip, p->in_zero, before);
        memcpy(strip + before, image + (uint32_t)y * row, inside);
        memset(strip + before + inside, p->in_zero, after);
    }
}

/* A line of outputs from its rows. */
static int8_t *one_line(const struct td_strip_conv_s8_dsp *p, struct td_waiting *waiting,
                        const int8_t *strip, int8_t *over, int8_t *out)
{
    const struct td_window *w = &p->window;
    uint32_t width = (uint32_t)w->k_w * w->in_c, whole = width & ~3u;
    uint32_t step = (uint32_t)w->stride_w * w->in_c;
    for (uint32_t left = w->out_w; left > 0; left--, strip += step) {
        uint32_t *column = waiting->column + waiting->count;
        if (whole > 0)
            column = td_widen_3(column, strip, whole, w->k_h, p->strip_row);
        if (width > whole) {
            const int8_t *from = strip + whole;
            int8_t *to = over;
            for (uint32_t i = w->k_h; i > 0; i--, from += p->strip_row)
                for (uint32_t n = 0; n < width - whole; n++)
                    *to++ = from[n];
            td_widen_3(column, over, w->k_h * (width - whole), 1, 0);
        }
        out = td_add_pixel(&p->matmul, waiting, out);
    }
    return out;
}

void td_strip_conv_s8_dsp(const struct td_strip_conv_s8_dsp *p, const int8_t *in, int8_t *out,
                          void *scratch)
{
    const struct td_window *w = &p->window;
    struct td_waiting waiting = {scratch, 0};
    int8_t *strip = (int8_t *)scratch + p->strip, *over = strip + w->k_h * p->strip_row;
    int8_t *start = out;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
            copy_rows(p, in, y, strip);
            out = one_line(p, &waiting, strip, over, out);
        }
    }
    if (waiting.count > 0)
        td_flush(&p->matmul, &waiting, out);
    td_clamp_outputs(&p->matmul.product, start);
}
#endif

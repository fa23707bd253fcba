/* FULLY_CONNECTED and CONV_2D with Helium. Pixels are read where they lie; only windows are copied,
 * into strips that several of them share. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_MVE)
#include "td_mve.h"
#include "td_window.h"

static uint32_t padded_depth(const struct td_product_mve *p)
{
    return 16 * p->block.groups;
}

static void two_pixels(const struct td_product_mve *p, td_pair_mve *pair, const int8_t *in0,
                       const int8_t *in1, int8_t *out0, int8_t *out1, int8_t *aside)
{
    if (p->channels == p->padded_channels) {
        pair(&p->block, in0, in1, out0, out1);
        return;
    }
    pair(&p->block, in0, in1, aside, aside + p->padded_channels);
    td_copy_bytes(out0, aside, p->channels);
    td_copy_bytes(out1, aside + p->padded_channels, p->channels);
}

void td_matmul_s8_mve(const struct td_matmul_s8_mve *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_product_mve *product = &p->product;
    const int8_t *last = in + (p->rows - 1) * p->step;
    int8_t *aside = scratch;
    if (product->depth != padded_depth(product)) {
        td_copy_bytes(aside, last, product->depth);
        last = aside;
        aside += padded_depth(product);
    }
    uint32_t channels = product->channels;
    for (uint32_t rows = p->rows; rows > 0;) {
        uint32_t now = rows > 1 ? 2 : 1;
        rows -= now;
        const int8_t *second = rows > 0 ? in + p->step : last;
        const int8_t *first = now == 1 ? last : in;
        two_pixels(product, p->pair, first, second, out, out + (now - 1) * channels, aside);
        in += 2 * p->step;
        out += 2 * channels;
    }
}

void td_vector_s8_mve(const struct td_vector_s8_mve *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_product_mve *product = &p->product;
    int8_t *aside = scratch;
    if (product->depth != padded_depth(product)) {
        td_copy_bytes(aside, in, product->depth);
        in = aside;
        aside += padded_depth(product);
    }
    if (product->channels == product->padded_channels) {
        td_quad_mve(&product->block, in, out);
    } else {
        td_quad_mve(&product->block, in, aside);
        td_copy_bytes(out, aside, product->channels);
    }
}

/* Columns [x, x + k_w) of `rows` rows from y on. */
static void make_strip(const struct td_window *w, const int8_t *image, int32_t y, int32_t x,
                       uint32_t rows, int zero, int8_t *to)
{
    uint32_t pixel = w->in_c, row = (uint32_t)w->in_w * pixel, width = w->k_w * pixel;
    int32_t from = x < 0 ? 0 : x, end = x + w->k_w < w->in_w ? x + w->k_w : w->in_w;
    uint32_t inside = end > from ? (uint32_t)(end - from) * pixel : 0;
    uint32_t before = inside ? (uint32_t)(from - x) * pixel : 0;
    int32_t at = y * (int32_t)row + from * (int32_t)pixel;
    for (; rows > 0; rows--, y++, at += (int32_t)row, to += width) {
        int present = y >= 0 && y < w->in_h;
        if (!present || inside != width)
            td_fill_bytes(to, zero, width);
        if (present)
            td_copy_bytes(to + before, image + at, inside);
    }
}

void td_conv_s8_mve(const struct td_conv_s8_mve *p, const int8_t *in, int8_t *out, void *scratch)
{
    const struct td_window *w = &p->window;
    int8_t *strip = scratch, *aside = strip + p->strip_bytes;
    uint32_t step = (uint32_t)w->stride_h * w->k_w * w->in_c;
    uint32_t out_row = (uint32_t)w->out_w * w->out_c;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        for (uint32_t i = 0; i < w->out_h; i += p->tall) {
            uint32_t tall = w->out_h - i < p->tall ? w->out_h - i : p->tall;
            int32_t y = (int32_t)(i * w->stride_h) - w->pad_top;
            int32_t x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, out += w->out_c) {
                make_strip(w, in, y, x, (tall - 1) * w->stride_h + w->k_h, p->in_zero, strip);
                const int8_t *window = strip;
                int8_t *to = out;
                for (uint32_t n = tall; n > 1; n -= 2, window += 2 * step, to += 2 * out_row)
                    two_pixels(&p->product, p->pair, window, window + step, to, to + out_row,
                               aside);
                if (tall & 1)
                    two_pixels(&p->product, p->pair, window, window, to, to, aside);
            }
            out += (tall - 1) * out_row;
        }
    }
}

void td_patch_conv_s8_mve(const struct td_patch_conv_s8_mve *p, const int8_t *in, int8_t *out,
                          void *scratch)
{
    const struct td_window *w = &p->window;
    int8_t *patch[2] = {scratch, (int8_t *)scratch + padded_depth(&p->product)};
    int8_t *aside = patch[1] + padded_depth(&p->product);
    uint32_t waiting = 0;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
            int32_t x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w) {
                td_window_gather(w, w->in_c, in, y, x, p->in_zero, patch[waiting]);
                waiting ^= 1;
                if (!waiting) {
                    two_pixels(&p->product, p->pair, patch[0], patch[1], out, out + w->out_c,
                               aside);
                    out += 2 * w->out_c;
                }
            }
        }
    }
    if (waiting)
        two_pixels(&p->product, p->pair, patch[0], patch[0], out, out, aside);
}
#endif

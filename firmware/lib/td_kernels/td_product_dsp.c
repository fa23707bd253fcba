/* FULLY_CONNECTED and CONV_2D with the DSP extension: inputs are widened to columns of int16, which
 * the blocks multiply with all channels. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_bytes.h"
#include "td_dsp.h"
#include "td_window.h"

/* Outputs beyond the clamp of int8, which the blocks did not know of. */
static void clamp(const struct td_product_dsp *p, int8_t *out)
{
    if (p->out_min > INT8_MIN || p->out_max < INT8_MAX)
        for (uint32_t n = p->rows * p->channels; n > 0; n--, out++)
            *out = *out < p->out_min ? (int8_t)p->out_min
                                     : *out > p->out_max ? (int8_t)p->out_max : *out;
}

static void two_pixels(const struct td_matmul_s8_dsp *p, const uint32_t *column, int8_t *out,
                       int8_t *second)
{
    const struct td_product_dsp *product = &p->product;
    if (product->channels == product->padded_channels) {
        p->pair(&product->block, column, out, second);
        return;
    }
    int8_t *aside = (int8_t *)(column + 4 * product->block.groups);
    p->pair(&product->block, column, aside, aside + product->padded_channels);
    memcpy(second, aside + product->padded_channels, product->channels);
    memcpy(out, aside, product->channels);
}

void td_matmul_s8_dsp(const struct td_matmul_s8_dsp *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_product_dsp *product = &p->product;
    uint32_t depth = product->depth, channels = product->channels;
    uint32_t *column = scratch;
    int8_t *start = out;
    for (uint32_t rows = product->rows; rows > 0;) {
        td_widen(column, in, depth, 4);
        in += depth;
        if (rows == 1) {
            two_pixels(p, column, out, out);
            break;
        }
        td_widen(column + 2, in, depth, 4);
        in += depth;
        two_pixels(p, column, out, out + channels);
        out += 2 * channels;
        rows -= 2;
    }
    clamp(product, start);
}

void td_vector_s8_dsp(const struct td_vector_s8_dsp *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_product_dsp *product = &p->product;
    const struct td_block_dsp *block = &product->block;
    uint32_t *column = scratch;
    uint32_t *end = column + 4 * block->groups;
    td_widen(column, in, product->depth, 2);
    if (product->channels == product->padded_channels) {
        p->quad(block, column, out);
    } else {
        p->quad(block, column, (int8_t *)end);
        memcpy(out, end, product->channels);
    }
    clamp(product, out);
}

/* Inputs of the window whose corner is (y, x), where pixels are whole groups of 4. */
static void widen_window(const struct td_window *w, const int8_t *image, int32_t y, int32_t x,
                         int fill, uint32_t *column)
{
    uint32_t row = (uint32_t)w->in_w * w->in_c;
    uint32_t before = x < 0 ? (uint32_t)-x : 0;
    if (before > w->k_w)
        before = w->k_w;
    int32_t over = x + w->k_w - w->in_w;
    uint32_t after = over < 0 ? 0 : (uint32_t)over < w->k_w ? (uint32_t)over : w->k_w;
    uint32_t inside = w->k_w - before - after;
    for (uint32_t i = w->k_h; i > 0; i--, y++) {
        if (y < 0 || y >= w->in_h) {
            column = td_fill(column, fill, (uint32_t)w->k_w * w->in_c);
            continue;
        }
        const int8_t *from = image + (uint32_t)y * row + (x + (int32_t)before) * w->in_c;
        if (before)
            column = td_fill(column, fill, before * w->in_c);
        column = td_widen(column, from, inside * w->in_c, 4);
        if (after)
            column = td_fill(column, fill, after * w->in_c);
    }
}

void td_conv_s8_dsp(const struct td_conv_s8_dsp *p, const int8_t *in, int8_t *out, void *scratch)
{
    const struct td_window *w = &p->window;
    const struct td_product_dsp *product = &p->matmul.product;
    uint32_t *column = scratch;
    int whole_groups = w->in_c % 4 == 0 && w->dilation_h == 1 && w->dilation_w == 1;
    int8_t *patch = (int8_t *)(column + 4 * product->block.groups);
    if (product->channels != product->padded_channels)
        patch += 2 * product->padded_channels;
    int8_t *start = out;
    uint32_t waiting = 0;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
            int32_t x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w) {
                if (whole_groups) {
                    widen_window(w, in, y, x, p->in_zero, column + 2 * waiting);
                } else {
                    td_window_gather(w, w->in_c, in, y, x, p->in_zero, patch);
                    td_widen(column + 2 * waiting, patch, product->depth, 4);
                }
                waiting ^= 1;
                if (!waiting) {
                    two_pixels(&p->matmul, column, out, out + w->out_c);
                    out += 2 * w->out_c;
                }
            }
        }
    }
    if (waiting)
        two_pixels(&p->matmul, column, out, out);
    clamp(product, start);
}
#endif

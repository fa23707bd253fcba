/* FULLY_CONNECTED and CONV_2D with the DSP extension: inputs are widened to columns of int16, which
 * the blocks multiply with all channels. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_bytes.h"
#include "td_dsp.h"
#include "td_fixedpoint.h"
#include "td_window.h"

static void clamp(const struct td_product_dsp *p, int8_t *out)
{
    td_clamp_bytes(out, p->rows * p->channels, p->out_min, p->out_max);
}

/* Pixels whose columns wait for the others of their block. */
struct waiting {
    uint32_t *column;
    uint32_t count;
};

/* Where the next pixel's column begins. */
TD_INLINE uint32_t *next_column(const struct td_matmul_s8_dsp *p, const struct waiting *w)
{
    return w->column + (p->together == 2 ? 2 * w->count : w->count);
}

/* The outputs of the pixels that wait, in order from `out` on; returns where the next begin. */
static int8_t *flush(const struct td_matmul_s8_dsp *p, struct waiting *w, int8_t *out)
{
    const struct td_product_dsp *product = &p->product;
    int8_t *aside = (int8_t *)(w->column + 2 * p->together * product->block.groups);
    uint32_t channels = product->channels, step = product->padded_channels;
    int8_t *start = channels == step ? out : aside;
    int8_t *places[3];
    for (uint32_t i = 0; i < 3; i++)
        places[i] = start + (i < w->count ? i : w->count - 1) * step;
    p->pixels(&product->block, w->column, places);
    if (start == aside)
        for (uint32_t i = 0; i < w->count; i++)
            memcpy(out + i * channels, aside + i * step, channels);
    out += w->count * channels;
    w->count = 0;
    return out;
}

void td_matmul_s8_dsp(const struct td_matmul_s8_dsp *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_product_dsp *product = &p->product;
    struct waiting waiting = {scratch, 0};
    int8_t *start = out;
    for (uint32_t rows = product->rows; rows > 0; rows--, in += product->depth) {
        td_widen(next_column(p, &waiting), in, product->depth, p->together);
        if (++waiting.count == p->together)
            out = flush(p, &waiting, out);
    }
    if (waiting.count > 0)
        flush(p, &waiting, out);
    clamp(product, start);
}

void td_vector_s8_dsp(const struct td_vector_s8_dsp *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_product_dsp *product = &p->product;
    uint32_t *column = scratch;
    int8_t *aside = (int8_t *)(column + 4 * product->block.groups);
    int padded = product->channels != product->padded_channels;
    td_widen(column, in, product->depth, 1);
    p->quad(&product->block, column, padded ? aside : out);
    if (padded)
        memcpy(out, aside, product->channels);
    clamp(product, out);
}

/* Inputs of the window whose corner is (y, x), where pixels are whole groups of 4. */
static void widen_window(const struct td_window *w, const int8_t *image, int32_t y, int32_t x,
                         int fill, uint32_t *column, uint32_t together)
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
            column = td_fill(column, fill, (uint32_t)w->k_w * w->in_c, together);
            continue;
        }
        const int8_t *from = image + (uint32_t)y * row + (x + (int32_t)before) * w->in_c;
        if (before)
            column = td_fill(column, fill, before * w->in_c, together);
        column = td_widen(column, from, inside * w->in_c, together);
        if (after)
            column = td_fill(column, fill, after * w->in_c, together);
    }
}

void td_conv_s8_dsp(const struct td_conv_s8_dsp *p, const int8_t *in, int8_t *out, void *scratch)
{
    const struct td_window *w = &p->window;
    const struct td_matmul_s8_dsp *matmul = &p->matmul;
    const struct td_product_dsp *product = &matmul->product;
    struct waiting waiting = {scratch, 0};
    int whole_groups = w->in_c % 4 == 0 && w->dilation_h == 1 && w->dilation_w == 1;
    int8_t *patch = (int8_t *)scratch + p->patch;
    int8_t *start = out;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
            int32_t x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w) {
                uint32_t *column = next_column(matmul, &waiting);
                if (whole_groups) {
                    widen_window(w, in, y, x, p->in_zero, column, matmul->together);
                } else {
                    td_window_gather(w, w->in_c, in, y, x, p->in_zero, patch);
                    td_widen(column, patch, product->depth, matmul->together);
                }
                if (++waiting.count == matmul->together)
                    out = flush(matmul, &waiting, out);
            }
        }
    }
    if (waiting.count > 0)
        flush(matmul, &waiting, out);
    clamp(product, start);
}
#endif

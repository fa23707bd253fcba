/* FULLY_CONNECTED and CONV_2D of single pixels with the DSP extension: inputs are widened to columns of int16, which
 * the blocks multiply with all channels. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_bytes.h"
#include "td_dsp.h"
#include "td_product_dsp.h"

int8_t *td_flush(const struct td_matmul_s8_dsp *p, struct td_waiting *w, int8_t *out)
{
    const struct td_product_dsp *product = &p->product;
    int8_t *aside = (int8_t *)(w->column + 6 * product->block.groups);
    uint32_t channels = product->channels, step = product->padded_channels;
    int8_t *start = channels == step ? out : aside;
    int8_t *places[3];
    for (uint32_t i = 0; i < 3; i++)
        places[i] = start + (i < w->count ? i : w->count - 1) * step;
    p->triple(&product->block, w->column, places);
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
    struct td_waiting waiting = {scratch, 0};
    int8_t *start = out;
    for (uint32_t rows = product->rows; rows > 0; rows--, in += product->depth) {
        td_widen_3(waiting.column + waiting.count, in, product->depth, 1, 0);
        out = td_add_pixel(p, &waiting, out);
    }
    if (waiting.count > 0)
        td_flush(p, &waiting, out);
    td_clamp_outputs(product, start);
}

void td_vector_s8_dsp(const struct td_vector_s8_dsp *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_product_dsp *product = &p->product;
    uint32_t *column = scratch;
    int8_t *aside = (int8_t *)(column + 4 * product->block.groups);
    int padded = product->channels != product->padded_channels;
    td_widen_1(column, in, product->depth, 1, 0);
    p->quad(&product->block, column, padded ? aside : out);
    if (padded)
        memcpy(out, aside, product->channels);
    td_clamp_outputs(product, out);
}

#endif

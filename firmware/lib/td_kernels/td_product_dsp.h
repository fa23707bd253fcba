/* td_product_dsp.h: what products and convolutions with the DSP extension share. */
#ifndef TD_PRODUCT_DSP_H
#define TD_PRODUCT_DSP_H
#include "td_dsp.h"
#include "td_kernels.h"

/* Up to three pixels whose inputs wait for the others of their block; the inputs of the next one
 * begin at column + count. */
struct td_waiting {
    uint32_t *column;
    uint32_t count;
};

/* Write the outputs of the pixels that wait, in order from `out` on; returns where the next ones
 * begin. */
int8_t *td_flush(const struct td_matmul_s8_dsp *p, struct td_waiting *w, int8_t *out);

/* The pixel whose column was just written waits; writes the outputs if it was the last of a block. */
TD_INLINE int8_t *td_add_pixel(const struct td_matmul_s8_dsp *p, struct td_waiting *w, int8_t *out)
{
    return ++w->count == 3 ? td_flush(p, w, out) : out;
}

static inline void td_clamp_outputs(const struct td_product_dsp *p, int8_t *out)
{
    td_clamp_bytes(out, p->rows * p->channels, p->out_min, p->out_max);
}

#endif

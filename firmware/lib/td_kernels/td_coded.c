/* Products with coded weights: a block of channels is decoded, then multiplied with all inputs by
 * the portable kernels. */
#include "td_fixedpoint.h"
#include "td_matmul.h"
#include "td_window.h"

/* Where decoding stands: it goes on with the next block. */
struct decoder {
    const uint8_t *flags, *values;
    const int8_t *table;
    uint32_t flag;      /* flags that are left of a byte, below a 1 */
    uint32_t word;      /* bits that are left of the values */
    uint32_t have;      /* how many */
    uint32_t bits;
};

static struct decoder begin(const struct td_code *c)
{
    struct decoder d = {c->flags, c->values, c->table, 1, 0, 0, c->bits};
    return d;
}

TD_INLINE int8_t next_value(struct decoder *d)
{
    if (!d->table)
        return (int8_t)*d->values++;
    if (d->have < d->bits) {
        d->word |= (uint32_t)*d->values++ << d->have;
        d->have += 8;
    }
    int8_t value = d->table[d->word & ((1u << d->bits) - 1)];
    d->word >>= d->bits;
    d->have -= d->bits;
    return value;
}

/* Two values a byte, without flags. */
static void decode_nibbles(struct decoder *d, int8_t *to, uint32_t count)
{
    if (count > 0 && d->have > 0) {
        *to++ = next_value(d);
        count--;
    }
    for (; count >= 2; count -= 2, to += 2) {
        uint32_t byte = *d->values++;
        to[0] = d->table[byte & 15];
        to[1] = d->table[byte >> 4];
    }
    if (count > 0)
        *to = next_value(d);
}

static void decode(struct decoder *from, int8_t *to, uint32_t count)
{
    if (!from->flags && from->bits == 4) {
        decode_nibbles(from, to, count);
        return;
    }
    struct decoder d = *from;   /* in registers */
    for (; count > 0; count--) {
        if (d.flags) {
            if (d.flag == 1)
                d.flag = 0x100u | *d.flags++;
            uint32_t stored = d.flag & 1;
            d.flag >>= 1;
            if (!stored) {
                *to++ = 0;
                continue;
            }
        }
        *to++ = next_value(&d);
    }
    *from = d;
}

/* The product of `count` channels from `first` on, as one of its own. */
static struct td_matmul_s8 block_of(const struct td_matmul_s8_coded *p, uint32_t first,
                                    const int8_t *weights)
{
    struct td_matmul_s8 part = p->product;
    uint32_t left = part.channels - first;
    part.channels = left < p->block ? left : p->block;
    part.weights = weights;
    part.bias += first;
    if (!p->shared_scale) {
        part.scale.multiplier += first;
        part.scale.down += first;
    }
    return part;
}

void td_matmul_s8_coded(const struct td_matmul_s8_coded *p, const int8_t *in, int8_t *out,
                        void *scratch)
{
    struct decoder d = begin(&p->code);
    uint32_t channels = p->product.channels, depth = p->product.depth;
    for (uint32_t c = 0; c < channels; c += p->block) {
        struct td_matmul_s8 part = block_of(p, c, scratch);
        decode(&d, scratch, part.channels * depth);
        for (uint32_t row = 0; row < part.rows; row++)
            td_matmul_row_s8(&part, in + row * depth, out + row * channels + c);
    }
}

void td_conv_s8_coded(const struct td_conv_s8_coded *p, const int8_t *in, int8_t *out,
                      void *scratch)
{
    const struct td_window *w = &p->window;
    struct decoder d = begin(&p->matmul.code);
    uint32_t depth = p->matmul.product.depth, image = (uint32_t)w->in_h * w->in_w * w->in_c;
    int8_t *patch = (int8_t *)scratch + p->matmul.block * depth;
    for (uint32_t c = 0; c < w->out_c; c += p->matmul.block) {
        struct td_matmul_s8 part = block_of(&p->matmul, c, scratch);
        decode(&d, scratch, part.channels * depth);
        int8_t *to = out + c;
        for (uint32_t b = 0; b < w->batches; b++) {
            int32_t y = -(int32_t)w->pad_top;
            for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
                int32_t x = -(int32_t)w->pad_left;
                for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, to += w->out_c) {
                    td_window_gather(w, w->in_c, in + b * image, y, x, p->in_zero, patch);
                    td_matmul_row_s8(&part, patch, to);
                }
            }
        }
    }
}

void td_depthwise_s8_coded(const struct td_depthwise_s8_coded *p, const int8_t *in, int8_t *out,
                           void *scratch)
{
    struct td_depthwise_s8 layer = p->layer;
    struct decoder d = begin(&p->code);
    const struct td_window *w = &layer.window;
    decode(&d, scratch, (uint32_t)w->k_h * w->k_w * w->out_c);
    layer.weights = scratch;
    td_depthwise_s8(&layer, in, out, (int8_t *)scratch + p->weights_bytes);
}

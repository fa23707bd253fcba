/* CONCATENATION, PAD and copies, of any type. */
#include "td_bytes.h"
#include "td_kernels.h"

void td_copy(const struct td_copy *p, const void *in, void *out)
{
    const uint8_t *from = in;
    uint8_t *to = out;
    for (uint32_t row = 0; row < p->rows; row++, from += p->in_stride, to += p->out_stride)
        memcpy(to, from, p->bytes);
}

struct cursor {
    const uint8_t *from;
    uint8_t *to;
};

static void fill(const struct td_pad *p, struct cursor *c, uint32_t elements)
{
    for (; elements > 0; elements--, c->to += p->element_bytes)
        memcpy(c->to, p->fill, p->element_bytes);
}

/* Elements of the output below dimension `d`. */
static uint32_t block(const struct td_pad *p, int d)
{
    uint32_t n = 1;
    for (int i = d + 1; i < 5; i++)
        n *= (uint32_t)p->in_size[i] + p->before[i] + p->after[i];
    return n;
}

/* Dimension `d` and all below it; recursion is at most 5 deep. */
static void pad(const struct td_pad *p, struct cursor *c, int d)
{
    uint32_t each = block(p, d);
    fill(p, c, p->before[d] * each);
    if (d == 4) {
        uint32_t bytes = (uint32_t)p->in_size[4] * p->element_bytes;
        memcpy(c->to, c->from, bytes);
        c->from += bytes;
        c->to += bytes;
    } else {
        for (uint32_t i = 0; i < p->in_size[d]; i++)
            pad(p, c, d + 1);
    }
    fill(p, c, p->after[d] * each);
}

void td_pad(const struct td_pad *p, const void *in, void *out)
{
    struct cursor c = {in, out};
    pad(p, &c, 0);
}

/* The strided copy behind most operators that only move. */
#include "td_bytes.h"
#include "td_kernels.h"

#define TD_DEFINE_LINE(name, type)                                                                \
    static void name(const uint8_t *from, uint8_t *to, int32_t in, int32_t out, uint32_t n)       \
    {                                                                                             \
        for (; n > 0; n--, from += in, to += out)                                                 \
            *(type *)(void *)to = *(const type *)(const void *)from;                              \
    }

TD_DEFINE_LINE(line_1, uint8_t)
TD_DEFINE_LINE(line_2, uint16_t)
TD_DEFINE_LINE(line_4, uint32_t)

/* The innermost loop. */
static void line(const struct td_strided *p, const uint8_t *from, uint8_t *to)
{
    enum { LAST = TD_STRIDED_DIMENSIONS - 1 };
    int32_t in = p->in_stride[LAST], out = p->out_stride[LAST];
    uint32_t n = p->size[LAST];
    switch (p->unit) {
    case 1:
        line_1(from, to, in, out, n);
        break;
    case 2:
        line_2(from, to, in, out, n);
        break;
    case 4:
        line_4(from, to, in, out, n);
        break;
    default:
        for (; n > 0; n--, from += in, to += out)
            memcpy(to, from, p->bytes);
    }
}

/* Dimension `d` and all below it; recursion is as deep as there are dimensions. */
static void walk(const struct td_strided *p, const uint8_t *from, uint8_t *to, int d)
{
    if (d == TD_STRIDED_DIMENSIONS - 1) {
        line(p, from, to);
        return;
    }
    for (uint32_t n = p->size[d]; n > 0; n--, from += p->in_stride[d], to += p->out_stride[d])
        walk(p, from, to, d + 1);
}

void td_strided(const struct td_strided *p, const void *in, void *out)
{
    int first = 0;
    while (first < TD_STRIDED_DIMENSIONS - 1 && p->size[first] == 1)
        first++;
    walk(p, (const uint8_t *)in + p->in_offset, out, first);
}

/* GATHER, RESIZE_NEAREST_NEIGHBOR and SELECT_V2: which bytes to copy is looked up. */
#include "td_bytes.h"
#include "td_kernels.h"

static uint32_t inside(int32_t index, uint32_t size)
{
    if (index < 0)
        return 0;
    return (uint32_t)index < size ? (uint32_t)index : size - 1;
}

void td_gather(const struct td_gather *p, const void *in, const int32_t *indices, void *out)
{
    const uint8_t *from = in;
    uint8_t *to = out;
    for (uint32_t b = 0; b < p->batches; b++, indices += p->count)
        for (uint32_t o = 0; o < p->outer; o++, from += p->axis * p->bytes)
            for (uint32_t i = 0; i < p->count; i++, to += p->bytes)
                memcpy(to, from + inside(indices[i], p->axis) * p->bytes, p->bytes);
}

void td_pick(const struct td_pick *p, const void *in, void *out)
{
    const uint8_t *from = in;
    uint8_t *to = out;
    for (uint32_t b = 0; b < p->batches; b++, from += p->image_bytes)
        for (uint32_t y = 0; y < p->out_h; y++)
            for (uint32_t x = 0; x < p->out_w; x++, to += p->pixel_bytes)
                memcpy(to, from + p->rows[y] + p->columns[x], p->pixel_bytes);
}

/* Where an operand's innermost loop begins. */
static uint32_t start(const uint32_t *stride, uint32_t i, uint32_t j, uint32_t k)
{
    return i * stride[0] + j * stride[1] + k * stride[2];
}

void td_select(const struct td_select *p, const uint8_t *c, const void *a, const void *b, void *out)
{
    uint8_t *to = out;
    uint32_t size = p->element_bytes;
    for (uint32_t i = 0; i < p->size[0]; i++)
        for (uint32_t j = 0; j < p->size[1]; j++)
            for (uint32_t k = 0; k < p->size[2]; k++) {
                const uint8_t *condition = c + start(p->c_stride, i, j, k);
                const uint8_t *x = (const uint8_t *)a + start(p->a_stride, i, j, k) * size;
                const uint8_t *y = (const uint8_t *)b + start(p->b_stride, i, j, k) * size;
                for (uint32_t n = p->size[3]; n > 0; n--) {
                    memcpy(to, *condition ? x : y, size);
                    to += size;
                    condition += p->c_stride[3];
                    x += p->a_stride[3] * size;
                    y += p->b_stride[3] * size;
                }
            }
}

/* GATHER_ND, SLICE and DYNAMIC_UPDATE_SLICE: where to copy stands in tensors. */
#include "td_bytes.h"
#include "td_kernels.h"

static uint32_t inside(int32_t index, uint32_t last)
{
    if (index < 0)
        return 0;
    return (uint32_t)index < last ? (uint32_t)index : last;
}

void td_gather_nd(const struct td_gather_nd *p, const void *in, const int32_t *indices, void *out)
{
    uint8_t *to = out;
    for (uint32_t i = 0; i < p->count; i++, to += p->bytes) {
        const uint8_t *from = in;
        for (uint32_t d = 0; d < p->depth; d++)
            from += inside(*indices++, p->last[d]) * p->stride[d];
        memcpy(to, from, p->bytes);
    }
}

/* Copies between a part of a tensor and the part on its own, dense: out of the tensor or into it. */
static void copy_part(const struct td_part *p, const int32_t *starts, uint8_t *tensor,
                      uint8_t *part, int into)
{
    uint32_t at[TD_PART_DIMENSIONS] = {0};
    for (uint32_t d = 0; d < TD_PART_DIMENSIONS; d++)
        if (p->room[d] > 0)
            tensor += inside(starts[d - p->missing], p->room[d]) * p->stride[d];
    for (;;) {
        if (into)
            memcpy(tensor, part, p->run);
        else
            memcpy(part, tensor, p->run);
        part += p->run;
        uint32_t d = TD_PART_DIMENSIONS - 1;
        while (d-- > 0) {   /* the last dimension is the run */
            tensor += p->stride[d];
            if (++at[d] < p->size[d])
                break;
            tensor -= p->size[d] * p->stride[d];
            at[d] = 0;
        }
        if (d == UINT32_MAX)
            return;
    }
}

void td_update_slice(const struct td_part *p, const void *in, const void *update,
                     const int32_t *starts, void *out)
{
    if (in != out)
        memcpy(out, in, p->bytes);
    copy_part(p, starts, out, (uint8_t *)update, 1);
}

void td_slice(const struct td_part *p, const void *in, const int32_t *starts, void *out)
{
    copy_part(p, starts, (uint8_t *)in, out, 0);
}

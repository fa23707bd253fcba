/* td_broadcast.h: the loops of operators with two operands, for use with struct td_broadcast. */
#ifndef TD_BROADCAST_H
#define TD_BROADCAST_H
#include <stdint.h>

/* A kernel that puts operation(p, *a, *b) into every element of the output; the operands are of
 * types a_type and b_type. */
#define TD_DEFINE_BROADCAST(name, params, operation, a_type, b_type, out_type)                    \
    void name(const struct params *p, const a_type *a, const b_type *b, out_type *out)            \
    {                                                                                             \
        const struct td_broadcast *s = &p->shape;                                                 \
        for (uint32_t i = 0; i < s->size[0]; i++)                                                 \
            for (uint32_t j = 0; j < s->size[1]; j++)                                             \
                for (uint32_t k = 0; k < s->size[2]; k++) {                                       \
                    const a_type *x = a + i * s->a_stride[0] + j * s->a_stride[1] +               \
                                      k * s->a_stride[2];                                         \
                    const b_type *y = b + i * s->b_stride[0] + j * s->b_stride[1] +               \
                                      k * s->b_stride[2];                                         \
                    for (uint32_t n = s->size[3]; n > 0; n--) {                                   \
                        *out++ = (out_type)operation(p, *x, *y);                                  \
                        x += s->a_stride[3];                                                      \
                        y += s->b_stride[3];                                                      \
                    }                                                                             \
                }                                                                                 \
    }

#endif

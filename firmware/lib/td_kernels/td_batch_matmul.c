/* BATCH_MATMUL. */
#include "td_fixedpoint.h"

static int32_t end_s8(const struct td_batch_matmul_int *p, int32_t sum)
{
    int32_t q = td_requantize(sum, p->multiplier, p->down) + p->out_zero;
    return td_clamp(q, INT8_MIN, INT8_MAX);
}

static int32_t end_s16(const struct td_batch_matmul_int *p, int64_t sum)
{
    int64_t product = sum * p->multiplier + ((int64_t)1 << (p->down - 1));
    return td_clamp((int32_t)(product >> p->down), INT16_MIN, INT16_MAX);
}

static float end_f32(const struct td_batch_matmul_f32 *p, float sum)
{
    (void)p;
    return sum;
}

#define A_ZERO(p) (p)->a_zero
#define B_ZERO(p) (p)->b_zero
#define NO_ZERO(p) 0

#define TD_DEFINE_BATCH_MATMUL(name, params, type, sum_type, a_zero, b_zero, end)                 \
    static type *name##_one(const struct params *p, const type *a, const type *b, type *out)      \
    {                                                                                             \
        const struct td_batch_shape *s = &p->shape;                                               \
        for (uint32_t i = 0; i < s->rows; i++)                                                    \
            for (uint32_t j = 0; j < s->columns; j++) {                                           \
                const type *x = a + i * s->a_row, *y = b + j * s->b_column;                       \
                sum_type sum = 0;                                                                 \
                for (uint32_t k = s->depth; k > 0; k--, x += s->a_column, y += s->b_row)          \
                    sum += (sum_type)(*x - a_zero(p)) * (*y - b_zero(p));                         \
                *out++ = (type)end(p, sum);                                                       \
            }                                                                                     \
        return out;                                                                               \
    }                                                                                             \
                                                                                                  \
    void name(const struct params *p, const type *a, const type *b, type *out)                    \
    {                                                                                             \
        const struct td_batch_shape *s = &p->shape;                                               \
        for (uint32_t i = 0; i < s->batches[0]; i++)                                              \
            for (uint32_t j = 0; j < s->batches[1]; j++)                                          \
                for (uint32_t k = 0; k < s->batches[2]; k++)                                      \
                    out = name##_one(                                                             \
                        p, a + i * s->a_batch[0] + j * s->a_batch[1] + k * s->a_batch[2],         \
                        b + i * s->b_batch[0] + j * s->b_batch[1] + k * s->b_batch[2], out);      \
    }

TD_DEFINE_BATCH_MATMUL(td_batch_matmul_s8, td_batch_matmul_int, int8_t, int32_t, A_ZERO, B_ZERO,
                       end_s8)
TD_DEFINE_BATCH_MATMUL(td_batch_matmul_s16, td_batch_matmul_int, int16_t, int64_t, NO_ZERO,
                       NO_ZERO, end_s16)
TD_DEFINE_BATCH_MATMUL(td_batch_matmul_f32, td_batch_matmul_f32, float, float, NO_ZERO, NO_ZERO,
                       end_f32)

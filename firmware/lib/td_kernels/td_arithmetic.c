/* ADD and MUL, with broadcasting. */
#include "td_fixedpoint.h"

/* Offsets of the two operands where the innermost loop number (i, j, k) begins. */
struct offsets {
    uint32_t a, b;
};

static struct offsets offsets(const struct td_broadcast *s, uint32_t i, uint32_t j, uint32_t k)
{
    struct offsets o = {
        i * s->a_stride[0] + j * s->a_stride[1] + k * s->a_stride[2],
        i * s->b_stride[0] + j * s->b_stride[1] + k * s->b_stride[2],
    };
    return o;
}

static int32_t sum(const struct td_add_int *p, int32_t a, int32_t b)
{
    int32_t x = td_requantize(td_shift_left(a - p->a_zero, p->left_shift), p->a_multiplier,
                              p->a_down);
    int32_t y = td_requantize(td_shift_left(b - p->b_zero, p->left_shift), p->b_multiplier,
                              p->b_down);
    int32_t q = td_requantize(x + y, p->out_multiplier, p->out_down) + p->out_zero;
    return td_clamp(q, p->out_min, p->out_max);
}

static int32_t product(const struct td_mul_int *p, int32_t a, int32_t b)
{
    int32_t q = td_requantize((a - p->a_zero) * (b - p->b_zero), p->multiplier, p->down);
    return td_clamp(q + p->out_zero, p->out_min, p->out_max);
}

static float clamped(const struct td_binary_f32 *p, float x)
{
    return x < p->out_min ? p->out_min : x > p->out_max ? p->out_max : x;
}

static float sum_f32(const struct td_binary_f32 *p, float a, float b)
{
    return clamped(p, a + b);
}

static float product_f32(const struct td_binary_f32 *p, float a, float b)
{
    return clamped(p, a * b);
}

#define TD_DEFINE_BINARY(name, params, operation, type)                                           \
    void name(const struct params *p, const type *a, const type *b, type *out)                    \
    {                                                                                             \
        const struct td_broadcast *s = &p->shape;                                                 \
        for (uint32_t i = 0; i < s->size[0]; i++)                                                 \
            for (uint32_t j = 0; j < s->size[1]; j++)                                             \
                for (uint32_t k = 0; k < s->size[2]; k++) {                                       \
                    struct offsets o = offsets(s, i, j, k);                                       \
                    const type *x = a + o.a, *y = b + o.b;                                        \
                    for (uint32_t n = s->size[3]; n > 0; n--) {                                   \
                        *out++ = (type)operation(p, *x, *y);                                      \
                        x += s->a_stride[3];                                                      \
                        y += s->b_stride[3];                                                      \
                    }                                                                             \
                }                                                                                 \
    }

TD_DEFINE_BINARY(td_add_s8, td_add_int, sum, int8_t)
TD_DEFINE_BINARY(td_add_s16, td_add_int, sum, int16_t)
TD_DEFINE_BINARY(td_add_f32, td_binary_f32, sum_f32, float)
TD_DEFINE_BINARY(td_mul_s8, td_mul_int, product, int8_t)
TD_DEFINE_BINARY(td_mul_s16, td_mul_int, product, int16_t)
TD_DEFINE_BINARY(td_mul_f32, td_binary_f32, product_f32, float)

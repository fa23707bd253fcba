/* ADD of two tensors of one shape, without SIMD. */
#include "td_packed.h"

/* One sum; `a_half`: a's scale is the larger one too. The operand of the larger scale is brought to
 * half of it exactly, by a shift; the other's product is rounded twice. Rounded at bit 32 and
 * shifted by `a_right`, it is its high word with twice the factor, shifted by one more. */
TD_INLINE int8_t sum(const struct td_add_s8_dsp *p, const struct td_channel_scale *scale, int32_t a,
                     int32_t b, int a_half)
{
    int32_t twice = (int32_t)((uint32_t)b << 20) - p->b_zero;
    a = (int32_t)((uint32_t)a << 21) - p->a_zero;
    if (a_half) {
        twice += a >> 1;
    } else {
        int32_t x = td_packed_multiply_high(2 * a, p->a_multiplier);
        int32_t round = 1 + 2 * (p->a_round + (a >> 31));
        twice += (x + round) >> (p->a_right + 1) << 1;
    }
    return td_packed_finish(scale, 2 * twice, 0);
}

void td_add_s8_packed(const struct td_add_s8_dsp *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const struct td_add_s8_dsp q = *p;      /* which the outputs cannot write over */
    const struct td_channel_scale scale = {0, q.out_multiplier, 1 + 2 * q.out_c, q.out_down + 2};
    int8_t *end = out + q.elements;
    if (q.a_right == 0)
        while (out != end)
            *out++ = sum(&q, &scale, *a++, *b++, 1);
    else
        while (out != end)
            *out++ = sum(&q, &scale, *a++, *b++, 0);
    td_packed_clamp(q.out_min, q.out_max, end - q.elements, q.elements);
}

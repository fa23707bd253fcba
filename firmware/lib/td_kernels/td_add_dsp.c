/* ADD of two tensors of one shape with the DSP extension. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_dsp.h"

/* One sum; `a_half`: a's scale is the larger one too. The operand of the larger scale is brought to
 * half of it exactly, by a shift; the other's product is rounded twice, as td_output does. */
TD_INLINE int8_t sum(const struct td_add_s8_dsp *p, int32_t a, int32_t b, int a_half)
{
    int32_t twice = (int32_t)((uint32_t)b << 20) - p->b_zero;
    a = (int32_t)((uint32_t)a << 21) - p->a_zero;
    if (a_half) {
        twice += a >> 1;
    } else {
        int32_t x, c = p->a_round + (a >> 31);
        __asm__("smmlar %0, %1, %2, %3" : "=r"(x) : "r"(a), "r"(p->a_multiplier), "r"(c));
        twice += x >> p->a_right << 1;
    }
    return td_output(twice, p->out_multiplier, p->out_c, p->out_down);
}

void td_add_s8_dsp(const struct td_add_s8_dsp *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const struct td_add_s8_dsp q = *p;      /* which the outputs cannot write over */
    int8_t *end = out + q.elements;
    if (q.a_right == 0)
        while (out != end)
            *out++ = sum(&q, *a++, *b++, 1);
    else
        while (out != end)
            *out++ = sum(&q, *a++, *b++, 0);
    td_clamp_bytes(end - q.elements, q.elements, q.out_min, q.out_max);
}
#endif

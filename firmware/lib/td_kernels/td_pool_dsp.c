/* Pooling with the DSP extension, four channels at a time. Positions outside the image are left
 * out, as in td_pool.c. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_dsp.h"
#include "td_window.h"

/* Rounded to the nearest, ties away from zero. */
static int32_t rounded_quotient(int32_t sum, int32_t count)
{
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

/* Halves hold the sums of at most 255 bytes. */
TD_INLINE uint32_t average(const int8_t *in, const struct td_area *a, uint32_t row, uint32_t step)
{
    uint32_t even = 0, odd = 0;
    for (uint32_t y = a->h; y > 0; y--, in += row) {
        const int8_t *x = in;
        for (uint32_t n = a->w; n > 0; n--, x += step) {
            uint32_t word = td_load_word(x);
            even = (uint32_t)__sxtab16((int16x2_t)even, (int8x4_t)word);
            __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(odd) : "r"(word));
        }
    }
    int32_t count = (int32_t)(a->h * a->w);
    uint32_t bytes = (uint8_t)rounded_quotient((int16_t)even, count);
    bytes |= (uint32_t)(uint8_t)rounded_quotient((int16_t)odd, count) << 8;
    bytes |= (uint32_t)(uint8_t)rounded_quotient((int32_t)even >> 16, count) << 16;
    return bytes | (uint32_t)rounded_quotient((int32_t)odd >> 16, count) << 24;
}

TD_INLINE uint32_t largest(const int8_t *in, const struct td_area *a, uint32_t row, uint32_t step)
{
    uint32_t max = 0x80808080u;
    for (uint32_t y = a->h; y > 0; y--, in += row) {
        const int8_t *x = in;
        for (uint32_t n = a->w; n > 0; n--, x += step) {
            uint32_t word = td_load_word(x), flags;
            /* Bytes of `word` where they are not less; the flags lie between the two. */
            __asm__ volatile("ssub8 %1, %2, %0\n"
                             "sel %0, %2, %0\n"
                             : "+r"(max), "=&r"(flags)
                             : "r"(word));
        }
    }
    return max;
}

#define TD_DEFINE_POOL(name, four)                                                                \
    void name(const struct td_pool_int *p, const int8_t *in, int8_t *out)                         \
    {                                                                                             \
        const struct td_window *w = &p->window;                                                   \
        uint32_t step = w->in_c, row = w->in_w * step;                                            \
        int8_t *start = out;                                                                      \
        for (uint32_t b = 0; b < w->batches; b++, in += w->in_h * row)                            \
            for (uint32_t i = 0; i < w->out_h; i++)                                               \
                for (uint32_t j = 0; j < w->out_w; j++) {                                         \
                    struct td_area a = td_window_clipped(w, i, j);                                \
                    const int8_t *from = in + a.y * row + a.x * step;                             \
                    for (uint32_t c = 0; c < step; c += 4, out += 4) {                            \
                        uint32_t bytes = four(from + c, &a, row, step);                           \
                        memcpy(out, &bytes, 4);                                                   \
                    }                                                                             \
                }                                                                                 \
        td_clamp_bytes(start, (uint32_t)(out - start), p->out_min, p->out_max);                   \
    }

TD_DEFINE_POOL(td_average_pool_s8_dsp, average)
TD_DEFINE_POOL(td_max_pool_s8_dsp, largest)
#endif

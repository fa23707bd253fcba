/* Columns of int16. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_dsp.h"

/* GCC finds neither STRD with writeback nor the fused rotation. */
#define TD_WIDEN_GROUP(step)                                    \
    "ldr %[even], [%[from]], #4\n"                              \
    "sxtb16 %[odd], %[even], ror #8\n"                          \
    "sxtb16 %[even], %[even]\n"                                 \
    "strd %[even], %[odd], [%[to]], #4 * " #step "\n"

#define TD_WIDEN_GROUPS(count, step)                            \
    __asm__ volatile(".rept " #count "\n" TD_WIDEN_GROUP(step) ".endr\n"                         \
                     : [from] "+r"(from), [to] "+r"(to), [even] "=&r"(even), [odd] "=&r"(odd)    \
                     :                                          \
                     : "memory")

uint32_t *td_widen(uint32_t *to, const int8_t *from, uint32_t count, uint32_t step)
{
    uint32_t even, odd;
    if (step == 4) {
        for (; count >= 16; count -= 16)
            TD_WIDEN_GROUPS(4, 4);
        for (; count >= 4; count -= 4)
            TD_WIDEN_GROUPS(1, 4);
    } else {
        for (; count >= 16; count -= 16)
            TD_WIDEN_GROUPS(4, 2);
        for (; count >= 4; count -= 4)
            TD_WIDEN_GROUPS(1, 2);
    }
    if (count > 0) {
        uint32_t bytes = 0;
        memcpy(&bytes, from, count);
        to[0] = td_even_bytes(bytes);
        to[1] = td_odd_bytes(bytes);
        to += step;
    }
    return to;
}

uint32_t *td_fill(uint32_t *to, int byte, uint32_t count)
{
    uint32_t halves = (uint16_t)byte * 0x10001u;
    for (; count > 0; count -= 4, to += 4) {
        to[0] = halves;
        to[1] = halves;
    }
    return to;
}
#endif

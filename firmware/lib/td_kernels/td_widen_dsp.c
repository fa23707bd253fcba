/* What several kernels with the DSP extension need: columns of int16, the last clamp. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_dsp.h"

/* `STORE` moves `to` to the next group. GCC finds neither its writeback nor the fused rotation. */
#define TD_WIDEN_GROUP(STORE)                                   \
    "ldr %[even], [%[from]], #4\n"                              \
    "sxtb16 %[odd], %[even], ror #8\n"                          \
    "sxtb16 %[even], %[even]\n" STORE
#define TD_WIDEN_ASM(code)                                      \
    __asm__ volatile(code                                       \
                     : [from] "+r"(from), [to] "+r"(to), [even] "=&r"(even), [odd] "=&r"(odd)    \
                     :                                          \
                     : "memory")

/* `half`: words between the two of a group, `step`: between groups. */
#define TD_DEFINE_WIDEN(name, STORE, half, step)                                                  \
    uint32_t *name(uint32_t *to, const int8_t *from, uint32_t count, uint32_t rows,               \
                   uint32_t row_step)                                                             \
    {                                                                                             \
        uint32_t even, odd;                                                                       \
        for (;; from += row_step - (count & ~3u)) {                                               \
            uint32_t n = count;                                                                   \
            for (; n >= 16; n -= 16)                                                              \
                TD_WIDEN_ASM(TD_WIDEN_GROUP(STORE) TD_WIDEN_GROUP(STORE) TD_WIDEN_GROUP(STORE)    \
                                 TD_WIDEN_GROUP(STORE));                                          \
            for (; n >= 4; n -= 4)                                                                \
                TD_WIDEN_ASM(TD_WIDEN_GROUP(STORE));                                              \
            if (n > 0) {                                                                          \
                uint32_t bytes = 0;                                                               \
                memcpy(&bytes, from, n);                                                          \
                to[0] = td_even_bytes(bytes);                                                     \
                to[half] = td_odd_bytes(bytes);                                                   \
                to += step;                                                                       \
            }                                                                                     \
            if (--rows == 0)                                                                      \
                return to;                                                                        \
        }                                                                                         \
    }

TD_DEFINE_WIDEN(td_widen_1, "strd %[even], %[odd], [%[to]], #8\n", 1, 2)
TD_DEFINE_WIDEN(td_widen_3, "str %[odd], [%[to], #12]\nstr %[even], [%[to]], #24\n", 3, 6)

void td_clamp_bytes(int8_t *bytes, uint32_t count, int32_t low, int32_t high)
{
    if (low == INT8_MIN && high == INT8_MAX)
        return;
    for (; count > 0; count--, bytes++)
        *bytes = (int8_t)td_clamp(*bytes, low, high);
}
#endif

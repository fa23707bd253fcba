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
#define TD_STORE_1 "strd %[even], %[odd], [%[to]], #8\n"
#define TD_STORE_2 "strd %[even], %[odd], [%[to]], #16\n"
#define TD_STORE_3 "str %[odd], [%[to], #12]\nstr %[even], [%[to]], #24\n"

#define TD_WIDEN(STORE)                                         \
    do {                                                        \
        for (; count >= 16; count -= 16)                        \
            TD_WIDEN_ASM(TD_WIDEN_GROUP(STORE) TD_WIDEN_GROUP(STORE) TD_WIDEN_GROUP(STORE)     \
                             TD_WIDEN_GROUP(STORE));                                      \
        for (; count >= 4; count -= 4)                          \
            TD_WIDEN_ASM(TD_WIDEN_GROUP(STORE));                          \
    } while (0)

/* Distance between the two words of a group. */
static uint32_t half_of(uint32_t together)
{
    return together == 3 ? 3 : 1;
}

uint32_t *td_widen(uint32_t *to, const int8_t *from, uint32_t count, uint32_t together)
{
    uint32_t even, odd;
    if (together == 3)
        TD_WIDEN(TD_STORE_3);
    else if (together == 2)
        TD_WIDEN(TD_STORE_2);
    else
        TD_WIDEN(TD_STORE_1);
    if (count > 0) {
        uint32_t bytes = 0;
        memcpy(&bytes, from, count);
        to[0] = td_even_bytes(bytes);
        to[half_of(together)] = td_odd_bytes(bytes);
        to += 2 * together;
    }
    return to;
}

uint32_t *td_fill(uint32_t *to, int byte, uint32_t count, uint32_t together)
{
    uint32_t halves = (uint16_t)byte * 0x10001u, half = half_of(together);
    for (; count > 0; count -= 4, to += 2 * together) {
        to[0] = halves;
        to[half] = halves;
    }
    return to;
}

void td_clamp_bytes(int8_t *bytes, uint32_t count, int32_t low, int32_t high)
{
    if (low == INT8_MIN && high == INT8_MAX)
        return;
    for (; count > 0; count--, bytes++)
        *bytes = (int8_t)td_clamp(*bytes, low, high);
}
#endif

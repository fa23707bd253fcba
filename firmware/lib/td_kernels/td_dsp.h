/* td_dsp.h: widening int8 to int16 for the kernels with the DSP extension. */
#ifndef TD_DSP_H
#define TD_DSP_H
#include <arm_acle.h>
#include <stdint.h>

#include "td_bytes.h"

/* Bytes 0 and 2, or 1 and 3, of a word, sign-extended to halfwords. */
static inline uint32_t td_even_bytes(uint32_t bytes)
{
    return (uint32_t)__sxtb16(bytes);
}

static inline uint32_t td_odd_bytes(uint32_t bytes)
{
    uint32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
    return halves;
}

/* Any address will do: these cores load words from everywhere. */
static inline uint32_t td_load_word(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Widen `count` bytes to groups of two words as columns of `together` pixels hold them: pairs
 * alternate groups, triples words. The last group is filled with zeros. Returns where the next
 * group would stand. */
uint32_t *td_widen(uint32_t *to, const int8_t *from, uint32_t count, uint32_t together);

/* The same for `count` (a multiple of 4) equal bytes. */
uint32_t *td_fill(uint32_t *to, int byte, uint32_t count, uint32_t together);

#endif

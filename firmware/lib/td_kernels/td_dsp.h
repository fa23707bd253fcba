/* td_dsp.h: widening int8 to int16 for the kernels with the DSP extension. */
#ifndef TD_DSP_H
#define TD_DSP_H
#include <arm_acle.h>
#include <stdint.h>

#include "td_bytes.h"
#include "td_fixedpoint.h"

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

/* (a low, b low) and (a high, b high) of two words of halves. */
static inline uint32_t td_low_halves(uint32_t a, uint32_t b)
{
    uint32_t halves;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(halves) : "r"(a), "r"(b));
    return halves;
}

static inline uint32_t td_high_halves(uint32_t a, uint32_t b)
{
    uint32_t halves;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(halves) : "r"(b), "r"(a));
    return halves;
}

/* A doubled sum becomes an output, as the blocks do it; c = (2 * out_zero + 1) << down. */
static inline int8_t td_output(int32_t sum, int32_t multiplier, int32_t c, int32_t down)
{
    int32_t q;
    c += sum >> 31;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(q) : "r"(sum), "r"(multiplier), "r"(c));
    return (int8_t)__ssat(q >> down >> 1, 8);
}

/* Any address will do: these cores load words from everywhere. */
static inline uint32_t td_load_word(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Clamp to what is narrower than int8. */
void td_clamp_bytes(int8_t *bytes, uint32_t count, int32_t low, int32_t high);

#endif

/* td_packed.h: three pixels in two words; see td_kernels_packed.h. */
#ifndef TD_PACKED_H
#define TD_PACKED_H
#include <stdint.h>

#include "td_fixedpoint.h"

#define TD_PACKED_Z0 21     /* where z stands in the first word */
#define TD_PACKED_Z1 10     /* and in the second: TD_PACKED_Z1 + 32 - TD_PACKED_Z0 = TD_PACKED_Z0 */
#define TD_PACKED_CHANNELS 4

/* Groups of channels whose sums are made together: as many as there are registers for. */
#if defined(__riscv)
#define TD_PACKED_GROUPS 2
#else
#define TD_PACKED_GROUPS 1
#endif

/* What the words of `steps` inputs give with channel c of a block: sums[2 * c], sums[2 * c + 1]. The
 * weights of its second group, if it has one, lie `next` bytes behind those of the first. */
void td_packed_sums(const uint32_t *column, const int8_t *weights, uint32_t steps,
                    uint32_t *sums, uint32_t next);

/* Packs `count` inputs of three pixels; returns the column's end. */
uint32_t *td_packed_pack(uint32_t *column, const int8_t *x, const int8_t *y, const int8_t *z,
                         uint32_t count);

/* All channels of three pixels; of outputs at the same place, those of the first pixel remain. */
void td_packed_pixels(const struct td_product_packed *p, const uint32_t *column, int8_t *out_x,
                      int8_t *out_y, int8_t *out_z);

/* Clamps `count` outputs, unless the clamp is int8's own. */
void td_packed_clamp(int32_t low, int32_t high, int8_t *out, uint32_t count);

/* Words of the inputs of three pixels. */
TD_INLINE void td_packed_join(int32_t x, int32_t y, int32_t z, uint32_t *words)
{
    words[0] = (uint32_t)x + ((uint32_t)z << TD_PACKED_Z0);
    words[1] = (uint32_t)y + ((uint32_t)z << TD_PACKED_Z1);
}

/* The lowest 21 bits, signed. */
TD_INLINE int32_t td_packed_low(uint32_t sum)
{
    return (int32_t)(sum << (32 - TD_PACKED_Z0)) >> (32 - TD_PACKED_Z0);
}

/* Sums of three pixels times 4. */
struct td_packed {
    int32_t x, y, z;
};

/* X + 2^21 Z gives X and, in the bits above it, Z modulo 2^11: enough to take 2^10 Z's share of
 * the lowest 21 bits from Y + 2^10 Z. What is left of them is Y, and that leaves 2^10 Z. */
TD_INLINE struct td_packed td_packed_split(const uint32_t *sums)
{
    int32_t x = td_packed_low(sums[0]);
    int32_t z_share = (int32_t)(sums[0] - (uint32_t)x) >> (TD_PACKED_Z0 - TD_PACKED_Z1);
    int32_t y = td_packed_low(sums[1] - (uint32_t)z_share);
    int32_t z = (int32_t)(sums[1] - (uint32_t)y);
    return (struct td_packed){4 * x, 4 * y, z >> (TD_PACKED_Z1 - 2)};
}

/* (4 * sum * multiplier) / 2^32, rounded down. */
TD_INLINE int32_t td_packed_multiply_high(int32_t sum, int32_t multiplier)
{
#if TD_SHORT_MULTIPLY
    uint32_t a_low = (uint32_t)sum & 0xffff, b_low = (uint32_t)multiplier & 0xffff;
    int32_t a_high = sum >> 16, b_high = multiplier >> 16;
    int32_t first = a_high * (int32_t)b_low + (int32_t)((a_low * b_low) >> 16);
    int32_t second = (int32_t)a_low * b_high + (first & 0xffff);
    return a_high * b_high + (first >> 16) + (second >> 16);
#else
    return (int32_t)(((int64_t)sum * multiplier) >> 32);
#endif
}

TD_INLINE int32_t td_packed_saturate(int32_t x)
{
#if defined(__ARM_ARCH_7M__)
    __asm__("ssat %0, #8, %1" : "=r"(x) : "r"(x));
    return x;
#else
    if ((uint32_t)(x + 128) > 255)
        x = x < 0 ? -128 : 127;
    return x;
#endif
}

/* A channel's part of struct td_scale_packed. With sums times 4 the product's rounding at bit 31 is
 * one at the high word's lowest bit, and both roundings of the reference are one constant,
 * 1 + (2 * out_zero + 1) * 2^right; ties of negative sums round away from zero with 2 less. */
struct td_channel_scale {
    int32_t bias, multiplier, constant, shift;
};

TD_INLINE struct td_channel_scale td_packed_scale(const int32_t *factors, int32_t right,
                                                  int32_t zero_and_half)
{
    return (struct td_channel_scale){factors[0], factors[1],
                                     (int32_t)(1 + ((uint32_t)zero_and_half << right)), right + 1};
}

/* `relu`: no output is below out_zero, so that the ties of negative sums do not matter. */
TD_INLINE int8_t td_packed_finish(const struct td_channel_scale *s, int32_t sum, int relu)
{
    sum += s->bias;
    int32_t high = td_packed_multiply_high(sum, s->multiplier) + s->constant;
    if (!relu)
        high += 2 * (sum >> 31);
    return (int8_t)td_packed_saturate(high >> s->shift);
}

#endif

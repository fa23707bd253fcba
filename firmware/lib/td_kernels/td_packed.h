/* td_packed.h: three pixels in two words; see td_kernels_packed.h. */
#ifndef TD_PACKED_H
#define TD_PACKED_H
#include <stdint.h>

#include "td_fixedpoint.h"

#define TD_PACKED_Z0 21     /* where z stands in the first word */
#define TD_PACKED_Z1 10     /* and in the second: TD_PACKED_Z1 + 32 - TD_PACKED_Z0 = TD_PACKED_Z0 */
#define TD_PACKED_CHANNELS 4

/* What the words of `steps` inputs give with channel c of a group: sums[2 * c], sums[2 * c + 1]. */
void td_packed_sums(const uint32_t *column, const int8_t *weights, uint32_t steps,
                    uint32_t *sums);

/* Packs `count` inputs of three pixels; returns the column's end. */
uint32_t *td_packed_pack(uint32_t *column, const int8_t *x, const int8_t *y, const int8_t *z,
                         uint32_t count);

/* All channels of three pixels; of outputs at the same place, those of the first pixel remain. */
void td_packed_pixels(const struct td_product_packed *p, const uint32_t *column, int8_t *out_x,
                      int8_t *out_y, int8_t *out_z);

/* Outputs beyond a clamp narrower than int8's. */
void td_packed_clamp(const struct td_product_packed *p, int8_t *out);

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

#endif

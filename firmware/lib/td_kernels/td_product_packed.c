/* All channels of three pixels, from a column; matrix products. */
#include "td_packed.h"

#include "td_bytes.h"

/* (4 * sum * multiplier) / 2^32, rounded down. */
TD_INLINE int32_t multiply_high(int32_t sum, int32_t multiplier)
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

TD_INLINE int32_t saturate(int32_t x)
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

/* With sums times 4 the product's rounding at bit 31 is one at the high word's lowest bit, and both
 * roundings of the reference are one constant, 1 + (2 * out_zero + 1) * 2^right; ties of negative
 * sums round away from zero with 2 less. */
TD_INLINE int8_t finish(int32_t sum, int32_t multiplier, int32_t constant, int32_t right)
{
    int32_t rounding = constant + 2 * (sum >> 31);
    return (int8_t)saturate((multiply_high(sum, multiplier) + rounding) >> (right + 1));
}

/* Sums of all parts of the depth but the last, for a group; moves both pointers to the last. */
static void earlier_parts(const struct td_product_packed *p, const uint32_t **column,
                          const int8_t **weights, struct td_packed *carry)
{
    uint32_t sums[2 * TD_PACKED_CHANNELS];
    memset(carry, 0, TD_PACKED_CHANNELS * sizeof *carry);
    for (uint32_t left = p->depth; left > p->part_depth; left -= p->part_depth) {
        td_packed_sums(*column, *weights, p->part_depth, sums);
        for (uint32_t c = 0; c < TD_PACKED_CHANNELS; c++) {
            struct td_packed part = td_packed_split(sums + 2 * c);
            carry[c].x += part.x;
            carry[c].y += part.y;
            carry[c].z += part.z;
        }
        *column += 2 * p->part_depth;
        *weights += TD_PACKED_CHANNELS * p->part_depth;
    }
}

void td_packed_pixels(const struct td_product_packed *p, const uint32_t *column, int8_t *out_x,
                      int8_t *out_y, int8_t *out_z)
{
    uint32_t sums[2 * TD_PACKED_CHANNELS];
    struct td_packed carry[TD_PACKED_CHANNELS];
    const int8_t *weights = p->weights;
    const int32_t *scale = p->scale;
    const int8_t *right = p->right;
    const int8_t *end = right + p->channels;
    int32_t zero_and_half = 2 * p->out_zero + 1;
    uint32_t parted = p->depth > p->part_depth;
    uint32_t last = (p->depth - 1) % p->part_depth + 1;
    while (right != end) {
        const uint32_t *from = column;
        if (parted)
            earlier_parts(p, &from, &weights, carry);
        td_packed_sums(from, weights, last, sums);
        weights += TD_PACKED_CHANNELS * last;
        const uint32_t *sum = sums;
        do {
            struct td_packed t = td_packed_split(sum);
            if (parted) {
                const struct td_packed *earlier = carry + (sum - sums) / 2;
                t.x += earlier->x;
                t.y += earlier->y;
                t.z += earlier->z;
            }
            int32_t bias = scale[0], multiplier = scale[1];
            int32_t r = *right++;
            int32_t constant = 1 + (int32_t)((uint32_t)zero_and_half << r);
            *out_z++ = finish(t.z + bias, multiplier, constant, r);
            *out_y++ = finish(t.y + bias, multiplier, constant, r);
            *out_x++ = finish(t.x + bias, multiplier, constant, r);
            scale += 2;
            sum += 2;
        } while (sum != sums + 2 * TD_PACKED_CHANNELS && right != end);
    }
}

uint32_t *td_packed_pack(uint32_t *column, const int8_t *x, const int8_t *y, const int8_t *z,
                         uint32_t count)
{
    for (const int8_t *end = x + count; x != end; x++, y++, z++, column += 2) {
        uint32_t third = (uint32_t)*z;
        column[0] = (uint32_t)*x + (third << TD_PACKED_Z0);
        column[1] = (uint32_t)*y + (third << TD_PACKED_Z1);
    }
    return column;
}

void td_packed_clamp(const struct td_product_packed *p, int8_t *out)
{
    if (p->out_min > INT8_MIN || p->out_max < INT8_MAX)
        for (uint32_t n = p->rows * p->channels; n > 0; n--, out++)
            *out = (int8_t)td_clamp(*out, p->out_min, p->out_max);
}

void td_matmul_s8_packed(const struct td_matmul_s8_packed *p, const int8_t *in, int8_t *out,
                         void *scratch)
{
    const struct td_product_packed *product = &p->product;
    uint32_t depth = product->depth, channels = product->channels;
    uint32_t *column = scratch;
    int8_t *start = out;
    for (uint32_t rows = product->rows; rows > 0;) {
        /* The last triple repeats a pixel where one is missing. */
        uint32_t second = rows > 1, third = rows > 2 ? 2 : second;
        td_packed_pack(column, in, in + second * depth, in + third * depth, depth);
        td_packed_pixels(product, column, out, out + second * channels, out + third * channels);
        in += 3 * depth;
        out += 3 * channels;
        rows -= rows > 2 ? 3 : rows;
    }
    td_packed_clamp(product, start);
}

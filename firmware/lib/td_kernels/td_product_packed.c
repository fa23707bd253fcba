/* All channels of three pixels, from a column; matrix products. */
#include "td_packed.h"

#include "td_bytes.h"

/* Channels of a block. */
#define TD_BLOCK (TD_PACKED_GROUPS * TD_PACKED_CHANNELS)

/* Sums of all parts of the depth but the last, for a block; moves both pointers to the last. */
static void earlier_parts(const struct td_product_packed *p, const uint32_t **column,
                          const int8_t **weights, uint32_t next, struct td_packed *carry)
{
    uint32_t sums[2 * TD_BLOCK];
    memset(carry, 0, TD_BLOCK * sizeof *carry);
    for (uint32_t left = p->depth; left > p->part_depth; left -= p->part_depth) {
        td_packed_sums(*column, *weights, p->part_depth, sums, next);
        for (uint32_t c = 0; c < TD_BLOCK; c++) {
            struct td_packed part = td_packed_split(sums + 2 * c);
            carry[c].x += part.x;
            carry[c].y += part.y;
            carry[c].z += part.z;
        }
        *column += 2 * p->part_depth;
        *weights += TD_PACKED_CHANNELS * p->part_depth;
    }
}

/* Outputs of a block of channels. `relu`: none is below out_zero. `carry` may be missing. */
TD_INLINE void finish_block(const struct td_scale_packed *s, uint32_t c, uint32_t channels,
                            const uint32_t *sums, const struct td_packed *carry, int relu,
                            int8_t *out_x, int8_t *out_y, int8_t *out_z)
{
    const int32_t *factors = s->factors + 2 * c;
    const int8_t *right = s->right + c;
    uint32_t end = channels - c < TD_BLOCK ? channels : c + TD_BLOCK;
    int32_t zero_and_half = 2 * s->out_zero + 1;
    do {
        struct td_packed t = td_packed_split(sums);
        if (carry) {
            t.x += carry->x;
            t.y += carry->y;
            t.z += carry->z;
            carry++;
        }
        struct td_channel_scale scale = td_packed_scale(factors, *right++, zero_and_half);
        sums += 2;
        factors += 2;
        int8_t z = td_packed_finish(&scale, t.z, relu);
        int8_t y = td_packed_finish(&scale, t.y, relu);
        int8_t x = td_packed_finish(&scale, t.x, relu);
        out_z[c] = z;
        out_y[c] = y;
        out_x[c] = x;
    } while (++c != end);
}

void td_packed_pixels(const struct td_product_packed *p, const uint32_t *column, int8_t *out_x,
                      int8_t *out_y, int8_t *out_z)
{
    uint32_t sums[2 * TD_BLOCK];
    struct td_packed carry[TD_BLOCK];
    const int8_t *weights = p->weights;
    uint32_t parted = p->depth > p->part_depth;
    uint32_t last = parted ? (p->depth - 1) % p->part_depth + 1 : p->depth;
    int relu = p->scale.out_min >= p->scale.out_zero;
    uint32_t group = TD_PACKED_CHANNELS * p->depth;
    for (uint32_t c = 0; c < p->channels; c += TD_BLOCK, weights += TD_PACKED_GROUPS * group) {
        const uint32_t *from = column;
        const int8_t *of_part = weights;
        /* Without a second group the first is computed twice. */
        uint32_t next = p->channels - c > TD_PACKED_CHANNELS ? group : 0;
        if (parted)
            earlier_parts(p, &from, &of_part, next, carry);
        td_packed_sums(from, of_part, last, sums, next);
        if (parted)
            finish_block(&p->scale, c, p->channels, sums, carry, 0, out_x, out_y, out_z);
        else if (relu)
            finish_block(&p->scale, c, p->channels, sums, 0, 1, out_x, out_y, out_z);
        else
            finish_block(&p->scale, c, p->channels, sums, 0, 0, out_x, out_y, out_z);
    }
}

uint32_t *td_packed_pack(uint32_t *column, const int8_t *x, const int8_t *y, const int8_t *z,
                         uint32_t count)
{
    for (const int8_t *end = x + count; x != end; x++, y++, z++, column += 2)
        td_packed_join(*x, *y, *z, column);
    return column;
}

void td_packed_clamp(int32_t low, int32_t high, int8_t *out, uint32_t count)
{
    if (low > INT8_MIN || high < INT8_MAX)
        for (; count > 0; count--, out++)
            *out = (int8_t)td_clamp(*out, low, high);
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
    td_packed_clamp(product->scale.out_min, product->scale.out_max, start,
                    product->rows * channels);
}

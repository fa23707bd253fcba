/* SOFTMAX in int16: exp and the reciprocal from tables. */
#include "td_fixedpoint.h"

/* A table of 513 entries over the int16 range, with a straight line between entries. */
static int16_t interpolate(const int16_t *table, int32_t x)
{
    const int16_t *entry = table + 256 + (x >> 7);
    int32_t slope = (int16_t)(entry[1] - entry[0]);
    return (int16_t)(entry[0] + ((slope * (x & 127) + 64) >> 7));
}

static int16_t exp_of_difference(const struct td_softmax_s16 *p, int32_t difference)
{
    int32_t scaled = td_requantize(difference, p->multiplier, p->down) + 32767;
    return interpolate(p->exp_table, td_clamp(scaled, INT16_MIN, INT16_MAX));
}

/* Position of the highest bit of x > 0, counted from the top. */
static int32_t leading_zeros(uint32_t x)
{
    int32_t n = 0;
    for (; !(x & 0x80000000u); x <<= 1)
        n++;
    return n;
}

static void one_row(const struct td_softmax_s16 *p, const int16_t *in, int16_t *out)
{
    int32_t max = INT16_MIN;
    for (uint32_t i = 0; i < p->depth; i++)
        max = in[i] > max ? in[i] : max;

    int32_t sum = 0;    /* Q16.15 */
    for (uint32_t i = 0; i < p->depth; i++) {
        out[i] = exp_of_difference(p, in[i] - max);
        sum += out[i];
    }

    /* sum = 2^(16 - zeros) * (1 + fraction); the fraction in [0, 1] as an int16 around 0 */
    int32_t zeros = leading_zeros((uint32_t)sum);
    int32_t shifted = (int32_t)((((int64_t)sum << (zeros - 1)) + (1 << 13)) >> 14);
    int32_t fraction = td_clamp(shifted - (1 << 16) - (1 << 15), INT16_MIN, INT16_MAX);
    int32_t reciprocal = interpolate(p->reciprocal_table, fraction);
    int32_t right = 31 - zeros;
    for (uint32_t i = 0; i < p->depth; i++) {
        int32_t q = (out[i] * reciprocal + (1 << (right - 1))) >> right;
        out[i] = (int16_t)td_clamp(q, 0, INT16_MAX);
    }
}

void td_softmax_s16(const struct td_softmax_s16 *p, const int16_t *in, int16_t *out)
{
    for (uint32_t row = 0; row < p->rows; row++, in += p->depth, out += p->depth)
        one_row(p, in, out);
}

/* SIN and COS of floats, without libm. In double precision, which most cores do in software: what
 * matters is that the result is right for every float, and the same on every core. */
#include "td_bytes.h"
#include "td_kernels.h"

/* The bits of 2 / pi behind the point. */
static const uint32_t two_over_pi[] = {
    0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu,
};

/* 32 of them from bit `at` on; above the point there are zeros. */
static uint32_t bits_from(int32_t at)
{
    if (at < 0)
        return two_over_pi[0] >> -at;
    uint32_t high = two_over_pi[at / 32], shift = (uint32_t)at % 32;
    return shift == 0 ? high : high << shift | two_over_pi[at / 32 + 1] >> (32 - shift);
}

/* |x| >= 2^20 in quarter turns, modulo 4, and a rest in [-pi/4, pi/4]. x is m 2^e with m < 2^24; of
 * the product with 2 / pi, 2 bits above the point and 62 behind it are kept (`turns`). */
static double reduce_large(uint32_t bits, uint32_t *quarters)
{
    int32_t e = (int32_t)(bits >> 23) - 150;
    uint32_t m = (bits & 0x007fffffu) | 0x00800000u;
    uint64_t low = ((uint64_t)m * bits_from(e + 62)) >> 32;
    uint64_t turns = ((uint64_t)(m * bits_from(e - 2)) << 32) + (uint64_t)m * bits_from(e + 30);
    turns += low;
    *quarters = (uint32_t)((turns + (1ull << 61)) >> 62);
    int64_t rest = (int64_t)(turns - ((uint64_t)*quarters << 62));
    return (double)rest * 0x1.921fb54442d18p-62;
}

/* |x| < 2^20 by the nearest quarter; pi/2 in two parts, the first of 32 bits, so that up to 2^20 of
 * it are exact. */
static double reduce(double x, uint32_t *quarters)
{
    uint32_t n = (uint32_t)(x * 0.63661977236758134 + 0.5);
    *quarters = n;
    return (x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34;
}

/* Minimax polynomials on [-pi/4, pi/4] by Sun (fdlibm's k_sinf.c and k_cosf.c), errors below
 * 2^-37 and 2^-34. */
static double near_sine(double x)
{
    double z = x * x;
    double tail = -0x1a00f9e2cae774.0p-65 + z * 0x16cd878c3b46a7.0p-71;
    return x + x * z * (-0x15555554cbac77.0p-55 + z * (0x111110896efbb2.0p-59 + z * tail));
}

static double near_cosine(double x)
{
    double z = x * x;
    double tail = -0x16c087e80f1e27.0p-62 + z * 0x199342e0ee5069.0p-68;
    return 1.0 + z * (-0x1ffffffd0c5e81.0p-54 + z * (0x155553e1053a42.0p-57 + z * tail));
}

/* The sine `ahead` quarter turns further on: 1 for a cosine. */
static float sine(float x, uint32_t ahead)
{
    uint32_t bits, quarters;
    memcpy(&bits, &x, sizeof bits);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x7f800000u)
        return x - x;   /* of infinity not a number */
    if (ahead == 0 && magnitude < 0x39800000u)
        return x;   /* below 2^-12, also minus zero */
    float positive;
    memcpy(&positive, &magnitude, sizeof positive);
    double rest = magnitude < 0x49800000u ? reduce(positive, &quarters)
                                          : reduce_large(magnitude, &quarters);
    quarters += ahead;
    double y = quarters & 1 ? near_cosine(rest) : near_sine(rest);
    if (quarters & 2)
        y = -y;
    return (float)(ahead == 0 && bits >> 31 ? -y : y);
}

void td_sin_f32(const struct td_elements *p, const float *in, float *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = sine(in[i], 0);
}

void td_cos_f32(const struct td_elements *p, const float *in, float *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = sine(in[i], 1);
}

/* Logarithm, square root and hyperbolic tangent in single precision, and floor. */
#include "td_math.h"

#include "td_bytes.h"
#include "td_float.h"

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static const uint32_t infinity = 0x7f800000u, not_a_number = 0x7fc00000u;

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s) with s = (m - 1) / (m + 1), by its
 * series up to s^9 (|s| <= 0.1716, so the remainder is below 2^-30). */
float td_logf(float x)
{
    const float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;  /* e * ln2_high is exact */
    uint32_t bits = to_bits(x);
    if (x != x || bits == infinity)
        return x;
    if ((bits << 1) == 0)
        return from_bits(infinity | 0x80000000u);
    if (bits >> 31)
        return from_bits(not_a_number);
    int32_t e = 0;
    if (bits < 0x00800000u) {   /* subnormal */
        bits = to_bits(x * 0x1p23f);
        e = -23;
    }
    bits += 0x3f800000u - 0x3f3504f3u;  /* mantissas from sqrt(1/2) on carry into the exponent */
    e += (int32_t)(bits >> 23) - 127;
    float m = from_bits((bits & 0x007fffffu) + 0x3f3504f3u);
    float f = m - 1.0f;
    float s = f / (2.0f + f);
    float s2 = s * s;
    float y = 2.0f / 9.0f;
    y = y * s2 + 2.0f / 7.0f;
    y = y * s2 + 2.0f / 5.0f;
    y = y * s2 + 2.0f / 3.0f;
    /* 2 s = f - s f, so that the large part is exact */
    float tail = s * (s2 * y - f);
    return (float)e * ln2_high + (f + (tail + (float)e * ln2_low));
}

/* Digit by digit in integers; the remainder decides the rounding, which is never a tie. */
float td_sqrtf(float x)
{
    uint32_t bits = to_bits(x);
    if (x != x || (bits << 1) == 0 || bits == infinity)
        return x;
    if (bits >> 31)
        return from_bits(not_a_number);
    int32_t e = (int32_t)(bits >> 23);
    uint32_t m = bits & 0x007fffffu;
    if (e == 0) {
        for (e = 1; !(m & 0x00800000u); e--)
            m <<= 1;
    }
    m |= 0x00800000u;
    e -= 127;
    if (e & 1)
        m <<= 1;
    e = (e - (e & 1)) / 2;
    uint32_t root = 0, rest = 0;
    uint64_t digits = (uint64_t)m << 25;    /* of 50 bits: a root of 25, the last for rounding */
    for (int i = 48; i >= 0; i -= 2) {
        rest = (rest << 2) | (uint32_t)((digits >> i) & 3);
        uint32_t trial = (root << 2) | 1;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1;
        }
    }
    root = (root + 1) >> 1;
    return from_bits(((uint32_t)(e + 127) << 23) + (root - 0x00800000u));
}

/* Near 0 Taylor's series, since 1 is subtracted; elsewhere exp. */
float td_expm1f(float x)
{
    if (x < -0.5f || x != x)
        return td_expf(x) - 1.0f;
    float y = 1.0f / 5040.0f;
    y = y * x + 1.0f / 720.0f;
    y = y * x + 1.0f / 120.0f;
    y = y * x + 1.0f / 24.0f;
    y = y * x + 1.0f / 6.0f;
    y = y * x + 0.5f;
    y = y * x + 1.0f;
    return y * x;
}

/* tanh |x| = -t / (2 + t) with t = exp(-2 |x|) - 1, which loses nothing near 0. */
float td_tanhf(float x)
{
    float magnitude = x < 0.0f ? -x : x;
    if (x != x || magnitude < 0x1p-12f)
        return x;
    float t = td_expm1f(-2.0f * (magnitude < 16.0f ? magnitude : 16.0f));
    float y = -t / (2.0f + t);
    return x < 0.0f ? -y : y;
}

float td_floorf(float x)
{
    if (!(x > -0x1p23f && x < 0x1p23f) || x == 0.0f)   /* whole already, or not a number */
        return x;
    float whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}

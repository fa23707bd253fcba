/* exp in single precision: x = n ln 2 + r with |r| <= ln 2 / 2, Taylor's series of exp(r) up to r^7
 * (its remainder is below 2^-27), times 2^n. Within 1.5 units in the last place. */
#include "td_float.h"

#include "td_bytes.h"

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^n for n in [-126, 127] */
static float power_of_two(int32_t n)
{
    return from_bits((uint32_t)(n + 127) << 23);
}

float td_expf(float x)
{
    const float log2_e = 0x1.715476p+0f;
    const float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;  /* n * ln2_high is exact */
    if (x != x)
        return x;
    if (x > 88.722839f)
        return from_bits(0x7f800000u);  /* infinity */
    if (x < -104.0f)
        return 0.0f;
    int32_t n = (int32_t)(x * log2_e + (x < 0.0f ? -0.5f : 0.5f));
    float r = (x - (float)n * ln2_high) - (float)n * ln2_low;
    float y = 1.0f / 5040.0f;
    y = y * r + 1.0f / 720.0f;
    y = y * r + 1.0f / 120.0f;
    y = y * r + 1.0f / 24.0f;
    y = y * r + 1.0f / 6.0f;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    int32_t half = n / 2;   /* in two steps, for results that are subnormal or near the largest */
    return y * power_of_two(half) * power_of_two(n - half);
}

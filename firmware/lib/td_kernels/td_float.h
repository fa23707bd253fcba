/* td_float.h: float functions without libm, the same bits on every core. */
#ifndef TD_FLOAT_H
#define TD_FLOAT_H
#include <stdint.h>

float td_expf(float x);

static inline float td_clampf(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

#endif

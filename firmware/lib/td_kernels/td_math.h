/* td_math.h: float functions of td_math.c, without libm, the same bits on every core. */
#ifndef TD_MATH_H
#define TD_MATH_H

float td_logf(float x);     /* of 0 and below: minus infinity and not a number */
float td_sqrtf(float x);    /* correctly rounded; of negative numbers not a number */
float td_tanhf(float x);
float td_expm1f(float x);   /* exp(x) - 1, for x <= 0 */
float td_floorf(float x);

#endif

/* td_fixed_functions.h: functions in fixed point that several kernels need. */
#ifndef TD_FIXED_FUNCTIONS_H
#define TD_FIXED_FUNCTIONS_H
#include <stdint.h>

int32_t td_saturating_shift(int32_t x, uint32_t bits);  /* x * 2^bits, saturated */
int32_t td_exp_negative(int32_t a);             /* exp(a) for a <= 0 in Q5.26; Q0.31 */
int32_t td_reciprocal_of_one_plus(int32_t a);   /* 1 / (1 + a) for a in [0, 1]; Q0.31 */
uint32_t td_leading_zeros(uint32_t x);          /* of x > 0 */

#endif

/* td_matmul.h: one row of a matrix product, which a convolution computes for each patch. */
#ifndef TD_MATMUL_H
#define TD_MATMUL_H
#include "td_kernels.h"

void td_matmul_row_s8(const struct td_matmul_s8 *p, const int8_t *x, int8_t *out);
void td_matmul_row_s16(const struct td_matmul_s16 *p, const int16_t *x, int16_t *out);
void td_matmul_row_f32(const struct td_matmul_f32 *p, const float *x, float *out);

#endif

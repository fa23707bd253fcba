/* td_kernels_coded.h: products whose weights stand in flash in fewer bits, and are decoded block by
 * block of channels to scratch memory; part of td_kernels.h. They cost instructions and save flash:
 * compiler/lower/coded.py weighs both. */
#ifndef TD_KERNELS_CODED_H
#define TD_KERNELS_CODED_H
#include <stdint.h>

/* Weights in the order of td_matmul_s8. With `flags` a bit a weight, the lowest of a byte first,
 * says whether it is stored at all; the others are 0. A stored weight is a number of `bits`, again
 * lowest first, that stands for an entry of `table`; without `table` it is a byte, the weight. */
struct td_code {
    const uint8_t *flags;
    const uint8_t *values;
    const int8_t *table;
    uint8_t bits;
};

/* product.weights is NULL. `block` channels at a time, a multiple of 4 or all. scratch: the weights of a
 * block. `shared_scale`: one factor for all channels. */
struct td_matmul_s8_coded {
    struct td_matmul_s8 product;
    struct td_code code;
    uint32_t block;
    uint8_t shared_scale;
};
void td_matmul_s8_coded(const struct td_matmul_s8_coded *p, const int8_t *in, int8_t *out,
                        void *scratch);

/* scratch: the weights of a block, then a patch. */
struct td_conv_s8_coded {
    struct td_window window;
    int8_t in_zero;
    struct td_matmul_s8_coded matmul;
};
void td_conv_s8_coded(const struct td_conv_s8_coded *p, const int8_t *in, int8_t *out,
                      void *scratch);

/* scratch: what td_depthwise_s8 needs from byte `weights_bytes` on, a multiple of 4; all weights
 * before. */
struct td_depthwise_s8_coded {
    struct td_depthwise_s8 layer;
    struct td_code code;
    uint32_t weights_bytes;
};
void td_depthwise_s8_coded(const struct td_depthwise_s8_coded *p, const int8_t *in, int8_t *out,
                           void *scratch);

#endif

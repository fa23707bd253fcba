/* td_runtime.h: the received input, and inferences on it. */
#ifndef TD_RUNTIME_H
#define TD_RUNTIME_H
#include <stdbool.h>
#include <stdint.h>

#include "td_config.h"

/* All inputs of the model one after the other, as they came over the line. An invoke may overwrite
 * the model's own input tensors, so this copy is what makes a second inference see the same input. */
extern uint8_t td_input[TD_INPUT_BYTES];

struct td_run {
    uint32_t us;    /* of the invokes alone, modulo 2^32 */
    uint32_t nj;    /* 0 where the board has no meter of its own */
};

/* False if TD_INPUT_BYTES is not what the model says: then nothing may run. */
bool td_runtime_init(void);

/* Copy the input and invoke, `n` times. */
struct td_run td_runtime_infer(uint32_t n);

uint32_t td_runtime_inferences(void);   /* since start */
uint16_t td_runtime_input_crc(void);
uint16_t td_runtime_output_crc(void);   /* over all outputs, one after the other */
uint32_t td_runtime_output_bytes(void);

#endif

/* td_runtime.h: the received input, and inferences on it.
 *
 * The input is received where the model reads it: in its own input tensors. An invoke may write over
 * them, and what is received may lie over the last outputs. So an input serves one call of
 * td_runtime_infer(), and outputs stay until the next byte of an input. */
#ifndef TD_RUNTIME_H
#define TD_RUNTIME_H
#include <stdbool.h>
#include <stdint.h>

#include "td_config.h"

struct td_run {
    uint32_t us;    /* of the invokes alone, modulo 2^32 */
    uint32_t nj;    /* 0 where the board has no meter of its own */
};

struct td_state {
    uint32_t inferences;    /* since start */
    uint32_t loaded;        /* up to where the input was put since the last inference or `db load` */
    bool spent;             /* an inference has used the input, and nothing was put since */
    bool has_outputs;       /* those of an inference, not written over by an input */
};

extern struct td_state td_state;

/* False if TD_INPUT_BYTES is not what the model says: then nothing may run. */
bool td_runtime_init(void);

/* Bytes of all inputs, one after the other. */
void td_runtime_put(uint32_t offset, uint8_t byte);
uint8_t td_runtime_get(uint32_t offset);

/* Invoke `n` times on the same input. More than one, or `keep`, which leaves the input as it was,
 * need room on the stack for a copy of it: td_runtime_can_repeat(). */
struct td_run td_runtime_infer(uint32_t n, bool keep);
bool td_runtime_can_repeat(void);

uint32_t td_runtime_input_crc(void);
uint32_t td_runtime_output_crc(void);   /* over all outputs, one after the other */
uint32_t td_runtime_output_bytes(void);

#endif

/* td_model.h: what the compiler emits for a model, and all that firmware knows of it.
 * One model a firmware. Tensors live in the model's own static arena: write the input tensors,
 * call td_model_invoke(), read the output tensors. An invoke may overwrite the inputs, and an input
 * the outputs before it. */
#ifndef TD_MODEL_H
#define TD_MODEL_H
#include <stdint.h>

enum td_dtype { TD_INT8 = 0, TD_INT16 = 1, TD_FLOAT32 = 2, TD_INT32 = 3, TD_UINT8 = 4, TD_BOOL = 5, TD_INT64 = 6 };

struct td_io {
    void *data;         /* in the arena, aligned to 16 bytes */
    uint32_t bytes;
    uint8_t dtype;      /* enum td_dtype */
};

/* An engine that learns addresses and sizes only when it starts defines this empty. */
#ifndef TD_MODEL_CONST
#define TD_MODEL_CONST const
#endif

#ifdef __cplusplus
extern "C" {
#endif

extern TD_MODEL_CONST struct td_io td_model_inputs[];
extern TD_MODEL_CONST struct td_io td_model_outputs[];
extern TD_MODEL_CONST uint8_t td_model_input_count;
extern TD_MODEL_CONST uint8_t td_model_output_count;
extern TD_MODEL_CONST uint32_t td_model_arena_bytes;

void td_model_init(void);   /* once after start, and to reset state kept between calls */
void td_model_invoke(void);

#ifdef __cplusplus
}
#endif

#endif

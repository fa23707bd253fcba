/* A hand-written model behind td_model.h: 100 int8 and 2 float32 in, 100 int8 and 3 int16 out.
 * With TOY_ECHO its first output is its first input, taken as that dtype.
 *
 * out0[i] = in0[i] + 1 (wrapping), out1 = {sum of in0, in1[0] > in1[1], calls since reset}.
 * It destroys its inputs, as planned arenas do, so that a firmware which does not copy the input
 * before each invoke gives wrong results. An input that begins with 127, 126, 125 hangs it. */
#include "td_model.h"

#include <stdbool.h>
#include <string.h>

static struct {
    int8_t in0[100];
    float in1[2];
    int8_t out0[100];
    int16_t out1[3];
} arena;

#ifndef TOY_ECHO
#define TOY_OUT0_DTYPE TD_INT8
#define TOY_STEP 1u
#else
#define TOY_OUT0_DTYPE TOY_ECHO
#define TOY_STEP 0u
#endif

static int16_t calls;

const struct td_io td_model_inputs[] = {
    {arena.in0, sizeof arena.in0, TD_INT8},
    {arena.in1, sizeof arena.in1, TD_FLOAT32},
};
const struct td_io td_model_outputs[] = {
    {arena.out0, sizeof arena.out0, TOY_OUT0_DTYPE},
    {arena.out1, sizeof arena.out1, TD_INT16},
};
const uint8_t td_model_input_count = 2;
const uint8_t td_model_output_count = 2;
const uint32_t td_model_arena_bytes = sizeof arena;

void td_model_init(void)
{
    calls = 0;
}

void td_model_invoke(void)
{
    volatile bool hang = arena.in0[0] == 127 && arena.in0[1] == 126 && arena.in0[2] == 125;
    int32_t sum = 0;
    while (hang) {
    }
    for (int i = 0; i < 100; i++) {
        sum += arena.in0[i];
        arena.out0[i] = (int8_t)(uint8_t)((uint8_t)arena.in0[i] + TOY_STEP);
    }
    arena.out1[0] = (int16_t)sum;
    arena.out1[1] = arena.in1[0] > arena.in1[1];
    arena.out1[2] = ++calls;
    memset(arena.in0, 0x55, sizeof arena.in0);
    memset(arena.in1, 0x55, sizeof arena.in1);
}

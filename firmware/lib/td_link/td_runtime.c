#include "td_runtime.h"

#include <stddef.h>

#include "td_crc32.h"
#include "td_model.h"
#include "td_port.h"
#include "td_profile.h"

/* What the stack must have left beside a copy of the input: the invoke's own need may not have been
 * seen yet. The engine's kernels take less than 1 KiB. */
#define STACK_MARGIN_BYTES 1024u

struct td_state td_state;

static uint32_t bytes_of(const struct td_io *io, uint32_t count)
{
    uint32_t bytes = 0;
    for (; count > 0; count--, io++) {
        bytes += io->bytes;
    }
    return bytes;
}

static uint32_t crc_of(const struct td_io *io, uint32_t count)
{
    uint32_t crc = TD_CRC32_START;
    for (; count > 0; count--, io++) {
        crc = td_crc32(crc, io->data, io->bytes);
    }
    return crc;
}

bool td_runtime_init(void)
{
    td_state.inferences = 0;
    td_state.loaded = 0;
    td_state.spent = false;
    td_state.has_outputs = false;
    td_model_init();
    return bytes_of(td_model_inputs, td_model_input_count) == TD_INPUT_BYTES;
}

/* ---------------------------------------------------------------- input */
/* Where a byte of the input stands; NULL behind the end of a model that is not the build's. */
static uint8_t *input_at(uint32_t offset)
{
    for (uint32_t i = 0; i < td_model_input_count; i++) {
        const struct td_io *io = &td_model_inputs[i];
        if (offset < io->bytes) {
            return (uint8_t *)io->data + offset;
        }
        offset -= io->bytes;
    }
    return NULL;
}

void td_runtime_put(uint32_t offset, uint8_t byte)
{
    uint8_t *at = input_at(offset);
    if (at == NULL) {
        return;
    }
    *at = byte;
    td_state.spent = false;
    td_state.has_outputs = false;
    if (offset + 1u > td_state.loaded) {
        td_state.loaded = offset + 1u;
    }
}

uint8_t td_runtime_get(uint32_t offset)
{
    const uint8_t *at = input_at(offset);
    return at == NULL ? 0 : *at;
}

uint32_t td_runtime_input_crc(void)
{
    return crc_of(td_model_inputs, td_model_input_count);
}

/* ---------------------------------------------------------------- inferences */
/* A profile begins with two marks and nothing between them: what a mark itself takes. */
static void invoke(void)
{
    td_mark_begin();
#ifdef TD_PROFILE_LAYERS
    td_profile_mark(TD_PROFILE_MARK);
    td_profile_mark(TD_PROFILE_NONE);
#endif
    td_model_invoke();
#ifdef TD_PROFILE_LAYERS
    td_profile_mark(TD_PROFILE_NONE);
#endif
    td_mark_end();
}

static void measured_invoke(struct td_run *run)
{
#ifdef TD_PORT_HAS_ENERGY
    td_port_energy_start();
#endif
    uint32_t start = td_port_timestamp_us();
    invoke();
    run->us += td_port_timestamp_us() - start;
#ifdef TD_PORT_HAS_ENERGY
    td_port_energy_stop();
    run->nj += td_port_energy_nj();
#endif
    td_state.inferences++;
}

/* Never inlined: one inference alone must not carry the copy on its stack. */
static void __attribute__((noinline)) repeat(struct td_run *run, uint32_t n, bool keep)
{
    uint8_t copy[TD_INPUT_BYTES];
    for (uint32_t i = 0; i < TD_INPUT_BYTES; i++) {
        copy[i] = td_runtime_get(i);
    }
    while (n-- > 0) {
        measured_invoke(run);
        if (n == 0 && !keep) {
            return;
        }
        for (uint32_t i = 0; i < TD_INPUT_BYTES; i++) {
            td_runtime_put(i, copy[i]);
        }
    }
}

struct td_run td_runtime_infer(uint32_t n, bool keep)
{
    struct td_run run = {0, 0};
#ifdef TD_PROFILE_LAYERS
    td_profile_clear();
#endif
#ifdef TD_PORT_HAS_TIMESTAMP_PIN
    if (!keep) {
        td_port_timestamp_pin();
    }
#endif
    if (n == 1 && !keep) {
        measured_invoke(&run);
    } else {
        repeat(&run, n, keep);
    }
    if (!keep) {
#ifdef TD_PORT_HAS_TIMESTAMP_PIN
        td_port_timestamp_pin();
#endif
        td_state.has_outputs = true;
        td_state.spent = true;
        td_state.loaded = 0;
    }
    return run;
}

bool td_runtime_can_repeat(void)
{
    uint32_t reserved = td_stack_reserved();
    return reserved == 0 ||     /* unknown */
           reserved >= td_stack_high_water() + TD_INPUT_BYTES + STACK_MARGIN_BYTES;
}

/* ---------------------------------------------------------------- outputs */
uint32_t td_runtime_output_crc(void)
{
    return crc_of(td_model_outputs, td_model_output_count);
}

uint32_t td_runtime_output_bytes(void)
{
    return bytes_of(td_model_outputs, td_model_output_count);
}

#include "td_runtime.h"

#include <string.h>

#include "td_crc16.h"
#include "td_model.h"
#include "td_port.h"
#include "td_profile.h"

uint8_t td_input[TD_INPUT_BYTES];

static uint32_t inferences;

bool td_runtime_init(void)
{
    uint32_t bytes = 0;
    inferences = 0;
    td_model_init();
    for (uint32_t i = 0; i < td_model_input_count; i++) {
        bytes += td_model_inputs[i].bytes;
    }
    return bytes == TD_INPUT_BYTES;
}

static void copy_input(void)
{
    uint32_t offset = 0;
    for (uint32_t i = 0; i < td_model_input_count; i++) {
        memcpy(td_model_inputs[i].data, td_input + offset, td_model_inputs[i].bytes);
        offset += td_model_inputs[i].bytes;
    }
}

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

struct td_run td_runtime_infer(uint32_t n)
{
    struct td_run run = {0, 0};
#ifdef TD_PROFILE_LAYERS
    td_profile_clear();
#endif
    while (n-- > 0) {
        copy_input();
#ifdef TD_PORT_HAS_ENERGY
        td_port_energy_start();
#endif
        uint32_t start = td_port_timestamp_us();
        invoke();
        run.us += td_port_timestamp_us() - start;
#ifdef TD_PORT_HAS_ENERGY
        td_port_energy_stop();
        run.nj += td_port_energy_nj();
#endif
        inferences++;
    }
    return run;
}

uint32_t td_runtime_inferences(void)
{
    return inferences;
}

uint16_t td_runtime_input_crc(void)
{
    return td_crc16(TD_CRC16_START, td_input, TD_INPUT_BYTES);
}

uint16_t td_runtime_output_crc(void)
{
    uint16_t crc = TD_CRC16_START;
    for (uint32_t i = 0; i < td_model_output_count; i++) {
        crc = td_crc16(crc, td_model_outputs[i].data, td_model_outputs[i].bytes);
    }
    return crc;
}

uint32_t td_runtime_output_bytes(void)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < td_model_output_count; i++) {
        bytes += td_model_outputs[i].bytes;
    }
    return bytes;
}

/* The text protocol of MLPerf Tiny (github.com/mlcommons/tiny, benchmark/api), answer by answer. */
#include <string.h>

#include "td_command.h"
#include "td_config.h"
#include "td_model.h"
#include "td_port.h"
#include "td_runtime.h"

#if TD_ENERGY_MODE
#define TD_MODE "energy"
#else
#define TD_MODE "performance"
#endif

static uint32_t expected;   /* bytes announced by `db load` */
static uint32_t epoch_us;   /* what the timestamps count from */

void td_mlperf_input_loaded(void)
{
    expected = 0;
}

static void put_line(const char *text)
{
    td_put_text(text);
    td_put_crlf();
}

static void put_number(const char *text, uint32_t number, const char *after)
{
    td_put_text(text);
    td_put_u32(number);
    put_line(after);
}

/* The energy mode tells the time by an edge of the pin alone: a line would be paid for by the window
 * that it begins. */
static void put_lap(void)
{
#if !TD_ENERGY_MODE
    put_number("m-lap-us-", td_port_timestamp_us() - epoch_us, "");
#endif
}

static void timestamp(void)
{
#ifdef TD_PORT_HAS_TIMESTAMP_PIN
    td_port_timestamp_pin();
#endif
    put_lap();
}

/* The runner subtracts two timestamps as they are: those of one window must not stand on both sides
 * of 2^32. */
static void keep_off_the_wrap(void)
{
    uint32_t now = td_port_timestamp_us();
    if ((int32_t)(now - epoch_us) < 0) {
        epoch_us = now;
    }
}

void td_mlperf_start(void)
{
    put_line("m-timestamp-mode-" TD_MODE);
    timestamp();    /* in the energy mode also the pin's first level */
}

/* ---------------------------------------------------------------- results */
static void put_float_bits(uint32_t bits)
{
    /* 1000 * value, truncated, by integers alone: no soft-float on cores without an FPU. */
    int32_t exponent = (int32_t)(bits >> 23 & 255u);
    uint64_t thousandths = (uint64_t)((bits & 0x7fffffu) | (exponent != 0 ? 0x800000u : 0u)) * 1000u;
    int32_t shift = exponent - 150;
    if (exponent == 255) {
        td_put_text((bits & 0x7fffffu) != 0 ? "nan" : (bits >> 31) != 0 ? "-inf" : "inf");
        return;
    }
    if (shift > 0) {
        thousandths = shift > 22 ? UINT64_MAX : thousandths << shift;
    } else {
        thousandths = shift < -63 ? 0 : thousandths >> -shift;
    }
    td_put_milli((bits >> 31) != 0 && thousandths != 0, thousandths);
}

static void put_integer(int32_t value)
{
#ifdef TD_OUTPUT_MILLI_Q16
    int32_t distance = value - (int32_t)(TD_OUTPUT_ZERO_POINT);
    uint32_t size = distance < 0 ? 0u - (uint32_t)distance : (uint32_t)distance;
    uint64_t thousandths = (uint64_t)size * (uint32_t)(TD_OUTPUT_MILLI_Q16) >> 16;
    td_put_milli(distance < 0 && thousandths != 0, thousandths);
#else
    td_put_i32(value);
#endif
}

static uint32_t put_element(const uint8_t *at, uint8_t dtype)
{
    uint32_t u32;
    uint16_t u16;
    switch (dtype) {
    case TD_FLOAT32:
        memcpy(&u32, at, 4);
        put_float_bits(u32);
        return 4;
    case TD_INT32:
        memcpy(&u32, at, 4);
        put_integer((int32_t)u32);
        return 4;
    case TD_INT64:      /* class indices: the low half says it all */
        memcpy(&u32, at, 4);
        put_integer((int32_t)u32);
        return 8;
    case TD_INT16:
        memcpy(&u16, at, 2);
        put_integer((int16_t)u16);
        return 2;
    case TD_INT8:
        put_integer((int8_t)*at);
        return 1;
    default:
        put_integer(*at);
        return 1;
    }
}

static void results(void)
{
    if (!td_state.has_outputs) {
        put_line("e-[No results]");
        return;
    }
    const struct td_io *out = &td_model_outputs[0];
    const uint8_t *data = out->data;
    td_put_text("m-results-[");
    for (uint32_t at = 0; at < out->bytes;) {
        if (at > 0) {
            td_put(',');
        }
        at += put_element(data + at, out->dtype);
    }
    put_line("]");
}

/* ---------------------------------------------------------------- db */
static void db_load(struct td_text *rest)
{
    struct td_text token;
    uint32_t bytes = 0;
    if (!td_next_token(rest, &token)) {
        put_line("e-[Command 'db load' requires the # of bytes]");
        return;
    }
    if (!td_token_u32(&token, &bytes) || bytes == 0) {
        put_line("e-[Command 'db load' must be >0 bytes]");
        return;
    }
    if (bytes > TD_INPUT_BYTES) {
        td_put_text("e-[Supplied buffer size ");
        td_put_u32(bytes);
        put_number(" exceeds maximum of ", TD_INPUT_BYTES, "]");
        return;
    }
    expected = bytes;
    td_state.loaded = 0;
    put_number("m-[Expecting ", bytes, " bytes]");
}

static void db_print(void)
{
    uint32_t i = 0;
    for (; i < expected; i++) {
        if (i % 8u == 0) {
            td_put_text("m-buffer-");
        }
        uint8_t byte = td_runtime_get(i);
        td_put_hex(&byte, 1);
        if ((i + 1u) % 8u == 0 || i + 1u == expected) {
            td_put_crlf();
        } else {
            td_put('-');
        }
    }
    if (i % 8u != 0) {
        td_put_crlf();
    }
}

static void db_hex(const struct td_text *digits)
{
    if ((digits->end - digits->at) % 2 != 0) {
        put_line("e-[Insufficent number of hex digits]");
        return;
    }
    uint32_t received = td_state.loaded;
    if (received >= expected) {
        put_line("e-[Command 'db load' has to come first]");
        return;
    }
    for (const char *p = digits->at; p < digits->end; p += 2) {
        int high = td_hex_digit(p[0]);
        int low = td_hex_digit(p[1]);
        if (high < 0 || low < 0) {
            td_put_text("e-[Invalid hex digit '");
            td_put_printable(p, 2);
            put_line("']");
            return;
        }
        td_runtime_put(received++, (uint8_t)(high << 4 | low));
        if (received == expected) {
            put_line("m-load-done");
            return;     /* as in the reference, surplus digits are ignored */
        }
    }
}

static void db(struct td_text *rest)
{
    struct td_text token;
    if (!td_next_token(rest, &token)) {
        put_line("e-[Command 'db' requires a subcommand]");
    } else if (td_token_is(&token, "load")) {
        db_load(rest);
    } else if (td_token_is(&token, "print")) {
        db_print();
    } else {
        db_hex(&token);
    }
}

/* ---------------------------------------------------------------- infer */
static void infer(struct td_text *rest)
{
    struct td_text token;
    uint32_t n = 1;
    uint32_t warmups = 10;
    if (td_next_token(rest, &token)) {
        if (!td_token_u32(&token, &n) || n == 0) {
            put_line("e-[Inference iterations must be >0]");
            return;
        }
        if (td_next_token(rest, &token) && !td_token_u32(&token, &warmups)) {
            put_line("e-[Inference warmup must be >=0]");
            return;
        }
    }
    if (!td_config_ok || td_state.loaded != TD_INPUT_BYTES) {
        td_put_text("e-[Input db has ");
        td_put_u32(td_state.loaded);
        put_number(" bytes, expected ", TD_INPUT_BYTES, "]");
        return;
    }
    if ((n > 1 || warmups > 0) && !td_runtime_can_repeat()) {
        put_line("e-[No memory to repeat: infer 1 0]");
        return;
    }
    put_number("m-warmup-start-", warmups, "");
    if (warmups > 0) {
        td_runtime_infer(warmups, true);
    }
    put_line("m-warmup-done");
    put_number("m-infer-start-", n, "");
    keep_off_the_wrap();
    put_lap();
    td_runtime_infer(n, false);     /* pulses the pin itself, if there is one */
    put_lap();
    put_line("m-infer-done");
    results();
}

void td_mlperf(const char *line, uint32_t length)
{
    struct td_text rest = {line, line + length};
    struct td_text token;
    if (!td_next_token(&rest, &token)) {
        /* an empty command: hosts send it to end whatever was left in the line */
    } else if (td_token_is(&token, "name")) {
        td_only = false;
        put_line("m-name-dut-[" TD_BOARD "]");
    } else if (td_only) {
        put_line("e-[name% first]");
    } else if (td_token_is(&token, "timestamp")) {
        timestamp();
    } else if (td_token_is(&token, "profile")) {
        put_line("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[" TD_MODEL_NAME "]");
    } else if (td_token_is(&token, "help")) {
        put_line("tinydeploy " TD_FIRMWARE_VERSION ": name profile timestamp db infer results td");
    } else if (td_token_is(&token, "db")) {
        db(&rest);
    } else if (td_token_is(&token, "infer")) {
        infer(&rest);
    } else if (td_token_is(&token, "results")) {
        results();
    } else {
        td_put_text("e-[Unknown command: ");
        td_put_printable(token.at, (uint32_t)(token.end - token.at));
        put_line("]");
    }
    put_line("m-ready");
}

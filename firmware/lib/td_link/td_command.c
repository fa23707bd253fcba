/* The `td SEQ COMMAND ... CRC%` commands: numbered, CRC-checked, safe to repeat. */
#include "td_command.h"

#include "td_answer.h"
#include "td_config.h"
#include "td_crc32.h"
#include "td_model.h"
#include "td_port.h"
#include "td_profile.h"
#include "td_runtime.h"
#include "td_update_commands.h"

#define CRC_CHARACTERS 9u   /* a space and eight digits */

/* How many bytes of output an answer may carry as hex digits, so that it is about as long as the
 * longest command at most. */
#define CHUNK_BYTES ((TD_LINE_BYTES - 32u) / 2u)

/* The last `infer`, so that a repeated one is answered again and not run again. A refusal is kept
 * as well: its repetition may arrive when the input has, and the host has gone on by then. */
static struct {
    bool valid;
    bool refused;
    uint32_t seq;
    uint32_t n;
    uint32_t inferences;    /* counted after it: another number, and the outputs are not its own */
    uint32_t input_crc;
    uint32_t output_crc;
    struct td_run run;
} last;

/* ---------------------------------------------------------------- id */
static void put_tensors(const char *key, const struct td_io *io, uint32_t count)
{
    static const char *const dtypes[] = {"int8", "int16", "float32", "int32",
                                         "uint8", "bool", "int64"};
    td_answer_key(key);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            td_put(',');
        }
        td_put_text(dtypes[io[i].dtype]);
        td_put(':');
        td_put_u32(io[i].bytes);
    }
}

static int do_id(uint32_t seq, const struct td_text *args)
{
    (void)args;
    last.valid = false;     /* a new host must not be answered with the old one's inference */
    td_only = true;
    td_answer_begin(seq);
    td_answer_number("protocol", TD_PROTOCOL_VERSION);
    td_answer_word("firmware", TD_FIRMWARE_VERSION);
    td_answer_word("board", TD_BOARD);
    td_answer_word("engine", TD_ENGINE);
    td_answer_word("build", TD_BUILD_ID);
    td_answer_word("model", TD_MODEL_SHA256);
    td_answer_word("name", TD_MODEL_NAME);
    td_answer_word("caps", TD_VIRTUAL_TIME ? "virtual-time" : "time");
#if TD_INSTRUCTION_COUNTER
    td_put_text(",instructions");
#endif
#ifdef TD_PORT_HAS_ENERGY
    td_put_text(",energy");
#endif
#ifdef TD_PROFILE_LAYERS
    td_put_text(",profile");
#endif
#ifdef TD_LAYOUT
    td_put_text(",update");
#endif
    td_answer_number("line", TD_LINE_BYTES);
    td_answer_number("window", TD_WINDOW);
    td_answer_number("chunk", CHUNK_BYTES);
    put_tensors("in", td_model_inputs, td_model_input_count);
    put_tensors("out", td_model_outputs, td_model_output_count);
    td_answer_end();
    return 0;
}

/* ---------------------------------------------------------------- load, crc, reset */
/* Data travel as they are, but for the bytes that mean something in a line: "=" and the byte with
 * bit 6 flipped stands for such a one. The length is checked before anything is written. */
/* A number below that of the last `infer`, counted around the end: a repetition that took its time
 * on the way. */
static bool comes_late(uint32_t seq)
{
    return last.valid && (int16_t)(uint16_t)(last.seq - seq) > 0;
}

static int do_load(uint32_t seq, const struct td_text *args)
{
    uint32_t offset;
    uint32_t bytes = 0;
    bool escaped = false;
    if (!td_token_u32(&args[0], &offset) || offset > TD_INPUT_BYTES) {
        return TD_ERR_RANGE;
    }
    for (const char *p = args[1].at; p < args[1].end; p++) {
        escaped = *p == '=' && !escaped;
        bytes += !escaped;
    }
    if (escaped) {
        return TD_ERR_SYNTAX;
    }
    if (bytes > TD_INPUT_BYTES - offset) {
        return TD_ERR_RANGE;
    }
    if (!(td_state.spent && comes_late(seq))) {     /* else it would write over the outputs */
        uint32_t to = offset;
        for (const char *p = args[1].at; p < args[1].end; p++) {
            td_runtime_put(to++, (uint8_t)(*p == '=' ? *++p ^ 0x40 : *p));
        }
        td_mlperf_input_loaded();
    }
    td_answer_begin(seq);
    td_answer_number("at", offset);
    td_answer_number("n", bytes);
    td_answer_end();
    return 0;
}

static int do_crc(uint32_t seq, const struct td_text *args)
{
    (void)args;
    td_answer_begin(seq);
    td_answer_number("n", TD_INPUT_BYTES);
    td_answer_crc("crc", td_runtime_input_crc());
    td_answer_end();
    return 0;
}

static int do_reset(uint32_t seq, const struct td_text *args)
{
    (void)args;
    last.valid = false;
    td_model_init();
    td_answer_begin(seq);
    td_answer_end();
    return 0;
}

/* ---------------------------------------------------------------- infer, out */
static bool is_repetition(uint32_t seq, uint32_t n, uint32_t input_crc)
{
    return last.valid && last.seq == seq && last.n == n && last.input_crc == input_crc &&
           last.inferences == td_state.inferences;
}

static void run_infer(uint32_t seq, uint32_t n, uint32_t input_crc)
{
    last.refused = td_state.spent || td_runtime_input_crc() != input_crc;
    if (!last.refused) {
        last.run = td_runtime_infer(n, false);
        last.output_crc = td_runtime_output_crc();
    }
    last.seq = seq;
    last.n = n;
    last.input_crc = input_crc;
    last.inferences = td_state.inferences;
    last.valid = true;
}

static int do_infer(uint32_t seq, const struct td_text *args)
{
    uint32_t n;
    uint32_t input_crc;
    if (!td_token_u32(&args[0], &n) || n == 0 || !td_token_hex32(&args[1], &input_crc)) {
        return TD_ERR_SYNTAX;
    }
    if (!td_config_ok) {
        return TD_ERR_CONFIG;
    }
    if (n > 1 && !td_runtime_can_repeat()) {
        return TD_ERR_RANGE;
    }
    if (comes_late(seq)) {
        return TD_ERR_INPUT;    /* nobody waits for it: it must not use up the next one's input */
    }
    bool again = is_repetition(seq, n, input_crc);
    if (!again) {
        run_infer(seq, n, input_crc);
    }
    if (last.refused) {
        return TD_ERR_INPUT;
    }
    td_answer_begin(seq);
    td_answer_number("n", n);
    td_answer_number("us", last.run.us);
    td_answer_number("nj", last.run.nj);
    td_answer_crc("crc", last.output_crc);
    if (!again && td_runtime_output_bytes() <= CHUNK_BYTES) {
        td_answer_key("out");
        for (uint32_t i = 0; i < td_model_output_count; i++) {
            td_put_hex(td_model_outputs[i].data, td_model_outputs[i].bytes);
        }
    }
    td_answer_end();
    return 0;
}

static int do_out(uint32_t seq, const struct td_text *args)
{
    uint32_t index;
    uint32_t offset;
    uint32_t bytes;
    if (!td_token_u32(&args[0], &index) || !td_token_u32(&args[1], &offset) ||
        !td_token_u32(&args[2], &bytes)) {
        return TD_ERR_SYNTAX;
    }
    if (index >= td_model_output_count || bytes == 0 || bytes > CHUNK_BYTES) {
        return TD_ERR_RANGE;
    }
    const struct td_io *out = &td_model_outputs[index];
    if (offset > out->bytes || bytes > out->bytes - offset) {
        return TD_ERR_RANGE;
    }
    if (!td_state.has_outputs) {
        return TD_ERR_INPUT;
    }
    td_answer_begin(seq);
    td_answer_key("data");
    td_put_hex((const uint8_t *)out->data + offset, bytes);
    td_answer_end();
    return 0;
}

/* ---------------------------------------------------------------- counters, mem */
static int do_counters(uint32_t seq, const struct td_text *args)
{
    (void)args;
    td_answer_begin(seq);
    td_answer_number("inferences", td_state.inferences);
    td_answer_number("commands", td_counts.commands);
    td_answer_number("damaged", td_counts.damaged);
    td_answer_number("long", td_counts.too_long);
    td_answer_number("us", td_port_timestamp_us());
    td_answer_end();
    return 0;
}

static int do_mem(uint32_t seq, const struct td_text *args)
{
    (void)args;
    td_answer_begin(seq);
    td_answer_number("arena", td_model_arena_bytes);
    td_answer_number("input", TD_INPUT_BYTES);
    td_answer_number("stack", td_stack_reserved());
    td_answer_number("used", td_stack_high_water());
    td_answer_end();
    return 0;
}

/* ---------------------------------------------------------------- profile */
#ifdef TD_PROFILE_LAYERS
#define PROFILE_CHUNK 8u    /* layers an answer carries: about 200 characters at most */

static int do_profile(uint32_t seq, const struct td_text *args)
{
    uint32_t first;
    if (!td_token_u32(&args[0], &first)) {
        return TD_ERR_SYNTAX;
    }
    if (first >= TD_PROFILE_LAYERS) {
        return TD_ERR_RANGE;
    }
    uint32_t left = TD_PROFILE_LAYERS - first;
    uint32_t end_layer = first + (left < PROFILE_CHUNK ? left : PROFILE_CHUNK);
    td_answer_begin(seq);
    td_answer_number("layers", TD_PROFILE_LAYERS);
    td_answer_key("us");
    for (uint32_t i = first; i < end_layer; i++) {
        td_put_text(i > first ? "," : "");
        td_put_u32(td_profile_layers[i].us);
    }
    td_answer_key("begun");
    for (uint32_t i = first; i < end_layer; i++) {
        td_put_text(i > first ? "," : "");
        td_put_u32(td_profile_layers[i].begun);
    }
    td_answer_end();
    return 0;
}
#endif

/* ---------------------------------------------------------------- dispatch */
#ifdef TD_LAYOUT
#define MAX_ARGS 4u
#else
#define MAX_ARGS 3u
#endif

static const struct {
    const char *name;
    uint32_t args;
    int (*run)(uint32_t seq, const struct td_text *args);
} commands[] = {
    {"id", 0, do_id},       {"load", 2, do_load}, {"crc", 0, do_crc},
    {"infer", 2, do_infer}, {"out", 3, do_out},   {"counters", 0, do_counters},
    {"mem", 0, do_mem},     {"reset", 0, do_reset},
#ifdef TD_PROFILE_LAYERS
    {"profile", 1, do_profile},
#endif
#ifdef TD_LAYOUT
    {"update", 0, td_do_update}, {"stage", 4, td_do_stage},     {"patch", 2, td_do_patch},
    {"commit", 1, td_do_commit}, {"confirm", 1, td_do_confirm}, {"revert", 0, td_do_revert},
#endif
};

/* `rest` holds the command's name and its arguments. */
static int run(uint32_t seq, struct td_text *rest)
{
    struct td_text name;
    struct td_text args[MAX_ARGS];
    struct td_text surplus;
    uint32_t count = 0;
    if (!td_next_token(rest, &name)) {
        return TD_ERR_SYNTAX;
    }
    while (count < MAX_ARGS && td_next_token(rest, &args[count])) {
        count++;
    }
    if (td_next_token(rest, &surplus)) {
        return TD_ERR_SYNTAX;
    }
    for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (td_token_is(&name, commands[i].name)) {
            return count == commands[i].args ? commands[i].run(seq, args) : TD_ERR_SYNTAX;
        }
    }
    return TD_ERR_UNKNOWN;
}

/* The CRC stands at the end, behind a space, and covers all before that space. */
static bool crc_is_right(const char *line, uint32_t length, uint32_t *body)
{
    uint32_t crc;
    if (length < CRC_CHARACTERS || line[length - CRC_CHARACTERS] != ' ') {
        return false;
    }
    *body = length - CRC_CHARACTERS;
    struct td_text digits = {line + *body + 1u, line + length};
    return td_token_hex32(&digits, &crc) && td_crc32(TD_CRC32_START, line, *body) == crc;
}

void td_command(const char *line, uint32_t length)
{
    struct td_text token;
    uint32_t body;
    uint32_t seq;
    if (!crc_is_right(line, length, &body)) {
        td_counts.damaged++;
        td_reject(TD_ERR_CRC);
        return;
    }
    struct td_text rest = {line + 3, line + body};
    if (body < 3 || !td_next_token(&rest, &token) || !td_token_u32(&token, &seq) ||
        seq > 65535u) {
        td_reject(TD_ERR_SYNTAX);
        return;
    }
    int error = run(seq, &rest);
    if (error != 0) {
        td_answer_error(seq, (enum td_err)error);
    }
}

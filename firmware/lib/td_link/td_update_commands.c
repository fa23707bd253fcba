#include "td_update_commands.h"

#include "td_config.h"

#ifdef TD_LAYOUT
#include "td_answer.h"
#include "td_command.h"
#include "td_runtime.h"
#include "td_sha256.h"
#include "td_update.h"

static void answer_status(uint32_t seq)
{
    static const char *const slots[] = {"a", "b", "factory"};
    struct td_update_status s = td_update_status();
    uint8_t hash[TD_SHA256_BYTES];
    td_update_sha256(hash);
    td_answer_begin(seq);
    td_answer_word("layout", TD_LAYOUT_ID);
    td_answer_number("bytes", td_update_bytes);
    td_answer_word("slot", slots[s.slot]);
    td_answer_word("state", s.state == TD_TRIAL ? "trial" : "confirmed");
    td_answer_crc("crc", s.crc);
    td_answer_key("hash");
    td_put_hex(hash, sizeof hash);
    td_answer_number("record", s.number);
    td_answer_number("staging", s.staging);
    td_answer_number("at", s.delta_bytes);
    td_answer_number("made", s.staged_bytes);
    td_answer_end();
}

static int answered(uint32_t seq, int error)
{
    if (error == 0) {
        answer_status(seq);
    }
    return error;
}

/* What runs may be another content now: its parameters are copied, its state begins anew. */
static void restart_model(uint32_t before)
{
    if (td_update_status().number != before) {
        td_config_ok = td_runtime_init();
    }
}

int td_do_update(uint32_t seq, const struct td_text *args)
{
    (void)args;
    return answered(seq, 0);
}

static bool take_hash(const struct td_text *token, uint8_t hash[TD_SHA256_BYTES])
{
    if (token->end - token->at != 2 * (int)TD_SHA256_BYTES) {
        return false;
    }
    for (uint32_t i = 0; i < TD_SHA256_BYTES; i++) {
        int high = td_hex_digit(token->at[2u * i]);
        int low = td_hex_digit(token->at[2u * i + 1u]);
        if (high < 0 || low < 0) {
            return false;
        }
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

int td_do_stage(uint32_t seq, const struct td_text *args)
{
    uint32_t layout;
    uint32_t base;
    uint32_t crc;
    uint8_t hash[TD_SHA256_BYTES];
    if (!td_token_hex32(&args[0], &layout) || !td_token_hex32(&args[1], &base) ||
        !td_token_hex32(&args[2], &crc) || !take_hash(&args[3], hash)) {
        return TD_ERR_SYNTAX;
    }
    return answered(seq, td_update_stage(layout, base, crc, hash));
}

int td_do_patch(uint32_t seq, const struct td_text *args)
{
    static uint8_t delta[TD_LINE_BYTES];
    uint32_t offset;
    uint32_t bytes = 0;
    if (!td_token_u32(&args[0], &offset)) {
        return TD_ERR_SYNTAX;
    }
    for (const char *p = args[1].at; p < args[1].end; p++) {
        if (*p != '=') {
            delta[bytes++] = (uint8_t)*p;
        } else if (++p < args[1].end) {
            delta[bytes++] = (uint8_t)(*p ^ 0x40);
        } else {
            return TD_ERR_SYNTAX;
        }
    }
    int error = td_update_patch(offset, delta, bytes);
    if (error == 0) {
        td_answer_begin(seq);
        td_answer_number("at", td_update_status().delta_bytes);
        td_answer_end();
    }
    return error;
}

int td_do_commit(uint32_t seq, const struct td_text *args)
{
    uint32_t crc;
    if (!td_token_hex32(&args[0], &crc)) {
        return TD_ERR_SYNTAX;
    }
    uint32_t before = td_update_status().number;
    int error = td_update_commit(crc);
    restart_model(before);
    return answered(seq, error);
}

int td_do_confirm(uint32_t seq, const struct td_text *args)
{
    uint32_t crc;
    if (!td_token_hex32(&args[0], &crc)) {
        return TD_ERR_SYNTAX;
    }
    return answered(seq, td_update_confirm(crc));
}

int td_do_revert(uint32_t seq, const struct td_text *args)
{
    (void)args;
    uint32_t before = td_update_status().number;
    int error = td_update_revert();
    restart_model(before);
    return answered(seq, error);
}
#endif

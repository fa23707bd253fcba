#include "td_answer.h"

#include "td_config.h"
#include "td_text.h"

void td_answer_begin(uint32_t seq)
{
    td_crc_start();
    td_put_text("td ");
    td_put_u32(seq);
    td_put_text(" ok");
}

void td_answer_end(void)
{
    uint32_t crc = td_crc_so_far();
    td_put(' ');
    td_put_hex32(crc);
    td_put_crlf();
}

void td_answer_key(const char *key)
{
    td_put(' ');
    td_put_text(key);
    td_put('=');
}

void td_answer_number(const char *key, uint32_t value)
{
    td_answer_key(key);
    td_put_u32(value);
}

void td_answer_word(const char *key, const char *value)
{
    td_answer_key(key);
    td_put_text(value);
}

void td_answer_crc(const char *key, uint32_t value)
{
    td_answer_key(key);
    td_put_hex32(value);
}

static void put_error(enum td_err error)
{
    static const char *const names[] = {"syntax", "range", "unknown", "crc",
                                        "input",  "long",  "config",
#ifdef TD_LAYOUT
                                        "graph",  "base",  "content", "state", "flash",
#endif
    };
    td_put_text(" err ");
    td_put_i32(error);
    td_put(' ');
    td_put_text(names[-(int)error - 1]);
    td_answer_end();
}

void td_answer_error(uint32_t seq, enum td_err error)
{
    td_crc_start();
    td_put_text("td ");
    td_put_u32(seq);
    put_error(error);
}

void td_reject(enum td_err error)
{
    td_crc_start();
    td_put_text("td -");
    put_error(error);
}

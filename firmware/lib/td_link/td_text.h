/* td_text.h: text out (with a running CRC) and text in, without printf, scanf and malloc. */
#ifndef TD_TEXT_H
#define TD_TEXT_H
#include <stdbool.h>
#include <stdint.h>

/* ---- out: every character goes to td_port_putc and into the running CRC */
void td_put(char c);
void td_put_text(const char *text);
void td_put_printable(const char *text, uint32_t length);   /* anything else becomes '?' */
void td_put_u32(uint32_t value);
void td_put_i32(int32_t value);
void td_put_milli(bool negative, uint64_t thousandths);     /* "-12.345" */
void td_put_hex(const void *data, uint32_t bytes);          /* lower case, in order of address */
void td_put_hex32(uint32_t value);                          /* eight digits, high digit first */
void td_put_crlf(void);

void td_crc_start(void);
uint32_t td_crc_so_far(void);

/* ---- in: the rest of a command, cut at spaces */
struct td_text {
    const char *at;
    const char *end;
};

bool td_next_token(struct td_text *rest, struct td_text *token);   /* false at the end */
bool td_token_is(const struct td_text *token, const char *word);
bool td_token_u32(const struct td_text *token, uint32_t *value);   /* decimal, false if not */
bool td_token_hex32(const struct td_text *token, uint32_t *value); /* eight lower-case digits */
int td_hex_digit(char c);                                          /* either case, -1 if not */

#endif

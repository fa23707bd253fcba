/* td_answer.h: the lines that answer `td` commands: number, keys, CRC. */
#ifndef TD_ANSWER_H
#define TD_ANSWER_H
#include <stdint.h>

#include "td_command.h"

void td_answer_begin(uint32_t seq);     /* "td SEQ ok": keys and the end have to follow */
void td_answer_key(const char *key);    /* " KEY=": its value has to follow */
void td_answer_number(const char *key, uint32_t value);
void td_answer_word(const char *key, const char *value);
void td_answer_crc(const char *key, uint32_t value);
void td_answer_end(void);               /* the CRC */
void td_answer_error(uint32_t seq, enum td_err error);

#endif

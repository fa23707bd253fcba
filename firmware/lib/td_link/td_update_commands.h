/* td_update_commands.h: the td commands that exchange the model's content. */
#ifndef TD_UPDATE_COMMANDS_H
#define TD_UPDATE_COMMANDS_H
#include <stdint.h>

#include "td_text.h"

int td_do_update(uint32_t seq, const struct td_text *args);
int td_do_stage(uint32_t seq, const struct td_text *args);
int td_do_patch(uint32_t seq, const struct td_text *args);
int td_do_commit(uint32_t seq, const struct td_text *args);
int td_do_confirm(uint32_t seq, const struct td_text *args);
int td_do_revert(uint32_t seq, const struct td_text *args);

#endif

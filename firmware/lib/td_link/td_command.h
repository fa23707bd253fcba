/* td_command.h: the two command sets behind td_link. */
#ifndef TD_COMMAND_H
#define TD_COMMAND_H
#include <stdbool.h>
#include <stdint.h>

#include "td_text.h"

enum td_err {
    TD_ERR_SYNTAX = -1,     /* an argument is missing, surplus or malformed */
    TD_ERR_RANGE = -2,      /* an offset, a length, an index or a count beyond what there is */
    TD_ERR_UNKNOWN = -3,    /* no such command */
    TD_ERR_CRC = -4,        /* the command arrived damaged */
    TD_ERR_INPUT = -5,      /* the input is not the one that was meant, or it is used up */
    TD_ERR_LONG = -6,       /* longer than the line */
    TD_ERR_CONFIG = -7,     /* the firmware was built for another model: nothing can run */
    /* only in firmware whose model can be exchanged */
    TD_ERR_GRAPH = -8,      /* a content of another graph, or for other code */
    TD_ERR_BASE = -9,       /* another content runs than the one that was meant */
    TD_ERR_CONTENT = -10,   /* what the delta made is not the content that was announced */
    TD_ERR_STATE = -11,     /* not while a new content is on trial */
    TD_ERR_FLASH = -12      /* the flash does not hold what was written */
};

#define TD_MLPERF_BYTES 80u /* EE_CMD_SIZE of MLPerf Tiny */

struct td_counts {
    uint32_t commands;      /* complete commands, good or bad */
    uint32_t damaged;       /* td commands with a wrong CRC */
    uint32_t too_long;
};

extern struct td_counts td_counts;
extern bool td_config_ok;

/* Whether MLPerf's commands are refused, from `id` to `name`: they are unprotected, and what is left
 * of a damaged td command may read like one of them. */
extern bool td_only;

void td_command(const char *line, uint32_t length);     /* begins with "td " */
void td_reject(enum td_err error);                      /* answers a command without a number */
void td_mlperf(const char *line, uint32_t length);
void td_mlperf_start(void);                             /* first lines after start */
void td_mlperf_input_loaded(void);                      /* td load wrote: db load is over */

#endif

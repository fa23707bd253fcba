/* What a builder would say of the harness beside it. */
#ifndef TD_BUILD_H
#define TD_BUILD_H
#define TD_PORT_FLASH_PAGE 128u
#define TD_PORT_FLASH_BYTES 1024u
#include "td_update.h"
#define TD_LAYOUT 0x12345678u
#define TD_LAYOUT_ID "12345678"
#define TD_BUILD_ID (td_update_header()->build)
#define TD_MODEL_SHA256 (td_update_header()->model)
#define TD_MODEL_NAME "toy"
#define TD_BOARD "harness"
#define TD_ENGINE "aot"
#define TD_INPUT_BYTES 1
#define TD_LINE_BYTES 128
#define TD_WINDOW 1
#define TD_INSTRUCTION_COUNTER 0
#endif

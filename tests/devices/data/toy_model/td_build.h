/* What a builder would generate for the toy model; tests override single values with -D. */
#ifndef TD_BUILD_H
#define TD_BUILD_H
#define TD_BUILD_ID "1111111111111111111111111111111111111111111111111111111111111111"
#define TD_MODEL_SHA256 "2222222222222222222222222222222222222222222222222222222222222222"
#define TD_MODEL_NAME "toy"
#define TD_BOARD "loopback"
#define TD_ENGINE "aot"
#define TD_INPUT_BYTES 108
#ifndef TD_LINE_BYTES
#define TD_LINE_BYTES 140
#endif
#ifndef TD_WINDOW
#define TD_WINDOW 4
#endif
#ifndef TD_INSTRUCTION_COUNTER
#define TD_INSTRUCTION_COUNTER 0
#endif
#endif

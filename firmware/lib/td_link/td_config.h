/* td_config.h: what the builder must say about a build, checked once, and the limits it implies. */
#ifndef TD_CONFIG_H
#define TD_CONFIG_H
#include "td_build.h"

#define TD_PROTOCOL_VERSION 3
#define TD_FIRMWARE_VERSION "0.1.0"

#ifndef TD_BUILD_ID
#error "td_build.h: define TD_BUILD_ID, the build's sha256 as 64 hex digits in quotes"
#endif
#ifndef TD_MODEL_SHA256
#error "td_build.h: define TD_MODEL_SHA256, the .tflite file's sha256 as 64 hex digits in quotes"
#endif
#ifndef TD_MODEL_NAME
#error "td_build.h: define TD_MODEL_NAME, the model's name in quotes (MLPerf Tiny: \"kws01\", ...)"
#endif
#ifndef TD_BOARD
#error "td_build.h: define TD_BOARD, the board's name in quotes"
#endif
#ifndef TD_ENGINE
#error "td_build.h: define TD_ENGINE, \"aot\" or \"tflm\""
#endif
#ifndef TD_INPUT_BYTES
#error "td_build.h: define TD_INPUT_BYTES, the sum of the bytes of all model inputs"
#endif
#ifndef TD_LINE_BYTES
#error "td_build.h: define TD_LINE_BYTES, the longest command the firmware takes (80 or more)"
#endif
#ifndef TD_WINDOW
#error "td_build.h: define TD_WINDOW, the commands a host may send ahead (1 without a receive queue)"
#endif
#ifndef TD_INSTRUCTION_COUNTER
#error "td_build.h: define TD_INSTRUCTION_COUNTER, 1 if an emulator counts instructions, else 0"
#endif

#if TD_LINE_BYTES < 80 || TD_LINE_BYTES > 16384
#error "td_build.h: TD_LINE_BYTES must be 80 to 16384"
#endif
#if defined(TD_LAYOUT) && TD_LINE_BYTES < 128
#error "td_build.h: TD_LINE_BYTES must be 128 or more for updates: a hash has to fit into a line"
#endif
#if TD_WINDOW < 1 || TD_WINDOW > 64
#error "td_build.h: TD_WINDOW must be 1 to 64"
#endif
#if TD_INPUT_BYTES < 1
#error "td_build.h: TD_INPUT_BYTES must be positive"
#endif

/* An emulator's clock is not time: the host never stores it as latency. */
#ifndef TD_VIRTUAL_TIME
#define TD_VIRTUAL_TIME TD_INSTRUCTION_COUNTER
#endif

/* MLPerf's energy mode: timestamps are edges of a pin, not lines. */
#ifndef TD_ENERGY_MODE
#define TD_ENERGY_MODE 0
#endif
#if TD_ENERGY_MODE && !defined(TD_PORT_HAS_TIMESTAMP_PIN)
#error "TD_ENERGY_MODE needs a port with a timestamp pin: define TD_PORT_HAS_TIMESTAMP_PIN"
#endif

/* Optional, for MLPerf's `results%` in real units: 1000 * scale * 65536 and the zero point of the
 * first output. Without them integers are printed as they are. */
#ifdef TD_OUTPUT_MILLI_Q16
#ifndef TD_OUTPUT_ZERO_POINT
#error "td_build.h: TD_OUTPUT_MILLI_Q16 needs TD_OUTPUT_ZERO_POINT"
#endif
#endif

#endif

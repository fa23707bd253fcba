/* decode_coprocessor.h: Thumb's coprocessor space. */
#ifndef TD_DECODE_COPROCESSOR_H
#define TD_DECODE_COPROCESSOR_H
#include "insn.h"

void td_decode_coprocessor(uint32_t first, uint32_t second, struct td_insn *insn);

#endif

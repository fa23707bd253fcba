/* insn.c: which decoder takes an instruction. */
#include "insn.h"

const char *const td_class_names[TD_CLASS_COUNT] = {
#define TD_NAME(name) #name,
    TD_CLASSES(TD_NAME)
#undef TD_NAME
};

enum { PC = 15 };

static uint32_t halfword(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

void td_decode(bool riscv, const uint8_t *bytes, size_t available, struct td_insn *insn)
{
    uint32_t first = available < 2 ? 0 : halfword(bytes);
    bool wide = riscv ? (first & 3u) == 3u : first >= 0xE800u;
    *insn = (struct td_insn){
        .class = TD_CLASS_other,
        .size = wide ? 4 : 2,
        .result = TD_NO_REGISTER,
        .base = TD_NO_REGISTER,
        .index = TD_NO_REGISTER,
    };
    if (available < insn->size) {
        return;
    }
    if (!wide) {
        if (riscv) {
            td_decode_riscv_compressed(first, insn);
        } else {
            td_decode_thumb16(first, insn);
        }
    } else if (riscv) {
        td_decode_riscv(first | halfword(bytes + 2) << 16, insn);
    } else {
        td_decode_thumb32(first, halfword(bytes + 2), insn);
        if (insn->result == PC && insn->class != TD_CLASS_ld) {
            insn->result = TD_NO_REGISTER;  /* TST, CMP, ...: Rd = 15 means no result */
        }
    }
}

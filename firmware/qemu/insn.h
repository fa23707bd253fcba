/* insn.h: one guest instruction, as far as counting and the cycle models need it. */
#ifndef TD_INSN_H
#define TD_INSN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The classes that instructions are counted in; README.md says what belongs to each. */
#define TD_CLASSES(X) \
    X(alu) X(mul) X(mac) X(mull) X(simd) X(div) \
    X(ld) X(st) X(ldm) X(stm) \
    X(b) X(bc) X(call) \
    X(fp) X(fmac) X(fdiv) X(fld) X(fst) X(fldm) X(fstm) \
    X(mve) X(it) X(other)

enum td_class {
#define TD_ENUM(name) TD_CLASS_##name,
    TD_CLASSES(TD_ENUM)
#undef TD_ENUM
    TD_CLASS_COUNT
};

extern const char *const td_class_names[TD_CLASS_COUNT];

#define TD_NO_REGISTER (-1)

struct td_insn {
    enum td_class class;
    uint8_t size;       /* bytes */
    uint8_t registers;  /* words that a multiple or floating-point load or store moves */
    bool writes_pc;
    bool conditional;   /* writes the PC on a condition only */
    bool links;         /* BL, BLX, JAL */
    bool accumulates;   /* a long multiply that adds to its result */
    bool register_offset;   /* the address is a sum of two registers */
    bool extra_cycle;   /* one cycle more than its class */
    bool in_it_block;
    int8_t result;      /* register that data processing or a load writes */
    int8_t base;        /* address registers */
    int8_t index;
};

/* Decode the instruction that starts at `bytes`; with fewer bytes than it has, class "other". */
void td_decode(bool riscv, const uint8_t *bytes, size_t available, struct td_insn *insn);

void td_decode_thumb16(uint32_t code, struct td_insn *insn);
void td_decode_thumb32(uint32_t first, uint32_t second, struct td_insn *insn);
void td_decode_riscv(uint32_t code, struct td_insn *insn);
void td_decode_riscv_compressed(uint32_t code, struct td_insn *insn);

/* Bits `high` to `low` of `value`. */
static inline uint32_t td_bits(uint32_t value, unsigned high, unsigned low)
{
    return value >> low & ((1u << (high - low + 1)) - 1u);
}

static inline void td_jump(struct td_insn *insn, enum td_class class, bool conditional)
{
    insn->class = class;
    insn->writes_pc = true;
    insn->conditional = conditional;
}

#endif

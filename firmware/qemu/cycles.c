/* cycles.c: the tables and pairing rules of the cycle model. README.md gives their sources. */
#include "cycles.h"

#include <string.h>

#define SAME(cycles) {cycles, cycles, cycles}
/* From ld to load_pc, the same for Cortex-M3 and M4. */
#define M3_M4_MEMORY_AND_JUMPS \
    .ld = SAME(2), .st = SAME(2), .fp = {1, 1, 2}, .fmac = {3, 3, 4}, .fdiv = {1, 14, 15}, \
    .it = {0, 1, 1}, .other = {1, 1, 2}, \
    .branch = {1, 2, 3}, .call = {1, 2, 3}, .load_pc = {1, 2, 3}
#define M4_INTEGER .mul = SAME(1), .mac = SAME(1), .mull = SAME(1), .mlal = SAME(1), .div = {2, 6, 12}
/* What a core does not have. */
#define NO_FP .fp = SAME(1), .fmac = SAME(1), .fdiv = SAME(1), .it = SAME(1)
#define M0_INTEGER \
    .mul = {1, 1, 32}, .mac = SAME(1), .mull = SAME(1), .mlal = SAME(1), .div = SAME(1)

static const struct td_core cores[] = {
    {
        .name = "m3", .pairs = true,
        .mul = SAME(1), .mac = SAME(2), .mull = {3, 4, 5}, .mlal = {4, 6, 7}, .div = {2, 6, 12},
        M3_M4_MEMORY_AND_JUMPS,
    },
    {.name = "m4", .pairs = true, M4_INTEGER, M3_M4_MEMORY_AND_JUMPS},
    /* No table of its own is published: M4's stands in. */
    {.name = "m33", .pairs = true, M4_INTEGER, M3_M4_MEMORY_AND_JUMPS},
    {
        .name = "m0", M0_INTEGER, NO_FP,
        .ld = SAME(2), .st = SAME(2), .other = {1, 1, 4},
        .branch = SAME(2), .call = SAME(3), .load_pc = SAME(3),
    },
    {
        .name = "m0plus", M0_INTEGER, NO_FP,
        .ld = {1, 2, 2}, .st = {1, 2, 2}, .other = {1, 1, 3},
        .branch = SAME(1), .call = SAME(2), .load_pc = SAME(2),
    },
    {
        .name = "ibex", .riscv = true, NO_FP,
        .mul = {1, 1, 3}, .mac = SAME(1), .mull = {2, 2, 4}, .mlal = SAME(1), .div = {2, 38, 38},
        .ld = SAME(2), .st = SAME(2), .other = SAME(1),
        .branch = {1, 2, 2}, .call = SAME(1), .load_pc = SAME(1),
    },
};

const struct td_core *td_find_core(const char *name)
{
    for (size_t i = 0; i < sizeof cores / sizeof cores[0]; i++) {
        if (strcmp(cores[i].name, name) == 0) {
            return &cores[i];
        }
    }
    return NULL;
}

static unsigned class_cycles(const struct td_core *core, const struct td_insn *insn,
                             enum td_estimate estimate)
{
    switch (insn->class) {
    case TD_CLASS_mul:
        return core->mul[estimate];
    case TD_CLASS_mac:
        return core->mac[estimate];
    case TD_CLASS_mull:
        return insn->accumulates ? core->mlal[estimate] : core->mull[estimate];
    case TD_CLASS_div:
        return core->div[estimate];
    case TD_CLASS_ld:
        return core->ld[estimate];
    case TD_CLASS_st:
        return core->pairs && !insn->register_offset ? 1 : core->st[estimate];
    case TD_CLASS_ldm: case TD_CLASS_stm:
    case TD_CLASS_fld: case TD_CLASS_fst: case TD_CLASS_fldm: case TD_CLASS_fstm:
        return 1u + insn->registers;
    case TD_CLASS_fp:
        return core->fp[estimate] + insn->extra_cycle;
    case TD_CLASS_fmac:
        return core->fmac[estimate];
    case TD_CLASS_fdiv:
        return core->fdiv[estimate];
    case TD_CLASS_b: case TD_CLASS_bc:
        return 1u + insn->extra_cycle;
    case TD_CLASS_it:
        return core->it[estimate];
    case TD_CLASS_other:
        return core->other[estimate];
    default:
        return 1;
    }
}

unsigned td_cycles(const struct td_core *core, const struct td_insn *insn,
                   const struct td_insn *before, enum td_estimate estimate)
{
    unsigned cycles = class_cycles(core, insn, estimate);
    if (core->pairs && before != NULL && insn->base != TD_NO_REGISTER) {
        bool single = insn->class == TD_CLASS_ld || insn->class == TD_CLASS_st;
        bool depends = before->result != TD_NO_REGISTER &&
                       (before->result == insn->base || before->result == insn->index);
        if (before->class == TD_CLASS_ld) {
            if (single && !depends && cycles > 1 && estimate != TD_HIGH) {
                cycles--;       /* its address phase overlaps the load's data phase */
            }
        } else if (before->class != TD_CLASS_st && depends && estimate != TD_LOW) {
            cycles++;           /* the address was made by the instruction just before */
        }
    }
    if (estimate == TD_LOW && insn->in_it_block && cycles > 1) {
        return 1;               /* it may have been skipped */
    }
    return cycles;
}

unsigned td_jump_cycles(const struct td_core *core, const struct td_insn *insn,
                        enum td_estimate estimate)
{
    if (!insn->writes_pc) {
        return 0;
    }
    if (insn->class == TD_CLASS_ldm || insn->class == TD_CLASS_ld) {
        return core->load_pc[estimate];
    }
    bool far = core->riscv ? !insn->conditional : insn->links && insn->size == 4;
    return far ? core->call[estimate] : core->branch[estimate];
}

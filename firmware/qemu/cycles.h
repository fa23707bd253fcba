/* cycles.h: how long an instruction takes, by the timings that the cores' makers publish. */
#ifndef TD_CYCLES_H
#define TD_CYCLES_H
#include "insn.h"

/* Three estimates side by side: the ends of the published range, and the model between them. */
enum td_estimate { TD_LOW, TD_MODEL, TD_HIGH, TD_ESTIMATES };

typedef uint8_t td_range[TD_ESTIMATES];

struct td_core {
    const char *name;
    bool riscv;
    bool pairs;         /* Cortex-M3/M4: pipelined loads, stores that are buffered, address stalls */
    td_range mul, mac, mull, mlal, div, ld, st, fp, fmac, fdiv, it, other;
    /* Added when a jump is taken: a branch; BL or any RISC-V jump; a load to the PC. */
    td_range branch, call, load_pc;
};

/* The table of a core, or NULL: then instructions are counted and cycles are not known. */
const struct td_core *td_find_core(const char *name);

/* Cycles of one instruction when no jump is taken. `before` is the instruction in front of it in
 * straight-line code, or NULL. */
unsigned td_cycles(const struct td_core *core, const struct td_insn *insn,
                   const struct td_insn *before, enum td_estimate estimate);

/* Cycles to add when `insn` jumps. */
unsigned td_jump_cycles(const struct td_core *core, const struct td_insn *insn,
                        enum td_estimate estimate);

#endif

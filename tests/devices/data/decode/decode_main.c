/* Decodes instructions for the tests: ISA and core as arguments, one instruction a line on stdin as
 * hex digits in memory order; prints class, registers, "writes the PC", size, cycles. */
#include <stdio.h>
#include <string.h>

#include "cycles.h"
#include "insn.h"

int main(int argc, char **argv)
{
    struct td_insn insn;
    struct td_insn before;
    bool have_before = false;
    char line[64];
    if (argc != 3) {
        return 2;
    }
    bool riscv = strcmp(argv[1], "rv32") == 0;
    const struct td_core *core = td_find_core(argv[2]);
    if (core == NULL) {
        return 2;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint8_t bytes[4];
        size_t length = 0;
        unsigned value;
        while (length < sizeof bytes && sscanf(line + 2 * length, "%2x", &value) == 1) {
            bytes[length++] = (uint8_t)value;
        }
        td_decode(riscv, bytes, length, &insn);
        printf("%s %u %d %u %u\n", td_class_names[insn.class], insn.registers, insn.writes_pc,
               insn.size, td_cycles(core, &insn, have_before ? &before : NULL, TD_MODEL));
        before = insn;
        have_before = true;
    }
    return 0;
}

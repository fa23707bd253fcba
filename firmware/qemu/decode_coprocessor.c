/* decode_coprocessor.c: floating point (VFPv4, FPv5) and Helium (MVE).
 * Encodings: Armv8-M ARM (DDI 0553), C2.4: floating-point and MVE instructions. */
#include "decode_coprocessor.h"

/* EC, ED, FC, FD: loads, stores, moves of two registers. */
static void load_store(uint32_t first, uint32_t second, struct td_insn *insn)
{
    uint32_t coprocessor = td_bits(second, 11, 8);
    bool load = (first & 0x10u) != 0;
    bool floating = coprocessor >= 9 && coprocessor <= 11;
    if (coprocessor >= 14) {
        bool system_register = (first & 0x120u) && (second & 0x1F80u) == 0x0F80u;
        if (!system_register) {
            insn->class = TD_CLASS_mve;
        }
    } else if (first >> 8 >= 0xFCu) {
        if (coprocessor == 8) {
            insn->class = TD_CLASS_mve;             /* VCADD, VCMLA */
        }
    } else if (!floating) {
        return;
    } else if ((first & 0xFFE0u) == 0xEC40u) {      /* VMOV with two core registers */
        insn->class = TD_CLASS_fp;
        insn->extra_cycle = true;
    } else if ((first & 0x120u) == 0x100u) {        /* VLDR, VSTR */
        insn->class = load ? TD_CLASS_fld : TD_CLASS_fst;
        insn->registers = coprocessor == 11 ? 2 : 1;
        insn->base = (int8_t)td_bits(first, 3, 0);
    } else {                                        /* VLDM, VSTM, VPUSH, VPOP */
        insn->class = load ? TD_CLASS_fldm : TD_CLASS_fstm;
        insn->registers = (uint8_t)td_bits(second, 7, 0);
        insn->base = (int8_t)td_bits(first, 3, 0);
    }
}

/* EE with bit 4 of the second halfword: moves between a core register and the FPU or a lane. */
static void transfer(uint32_t first, uint32_t second, struct td_insn *insn)
{
    uint32_t coprocessor = td_bits(second, 11, 8);
    bool load = (first & 0x10u) != 0;
    bool lane = ((first & 0x80u) && !load) || (first & 0x40u) || (second & 0x60u);
    insn->class = coprocessor == 11 && lane ? TD_CLASS_mve : TD_CLASS_fp;
    insn->extra_cycle = coprocessor == 10 && !(first & 0xE0u);
}

static void arithmetic(uint32_t first, uint32_t second, struct td_insn *insn)
{
    enum { VMLA = 0, VNMLA = 1, VDIV = 4, VFNMA = 5, VFMA = 6, UNARY = 7 };
    uint32_t operation = td_bits(first, 7, 7) << 2 | td_bits(first, 5, 4);
    bool square_root = operation == UNARY && (first & 15u) == 1 && (second & 0xC0u) == 0xC0u;
    if (operation == VDIV || square_root) {
        insn->class = TD_CLASS_fdiv;
    } else if (operation == VMLA || operation == VNMLA || operation == VFNMA || operation == VFMA) {
        insn->class = TD_CLASS_fmac;
    } else {
        insn->class = TD_CLASS_fp;
    }
}

void td_decode_coprocessor(uint32_t first, uint32_t second, struct td_insn *insn)
{
    uint32_t coprocessor = td_bits(second, 11, 8);
    uint32_t high = first >> 8;
    bool floating = coprocessor >= 9 && coprocessor <= 11;
    insn->class = TD_CLASS_other;
    if (high == 0xEFu || high == 0xFFu) {
        insn->class = TD_CLASS_mve;                 /* vector data processing */
    } else if ((first & 0xEE00u) == 0xEC00u) {
        load_store(first, second, insn);
    } else if (coprocessor >= 14 || (coprocessor == 8 && high == 0xFEu)) {
        insn->class = TD_CLASS_mve;
    } else if (!floating) {
        return;                                     /* CDP, MCR, MRC, CX */
    } else if (high == 0xFEu) {
        insn->class = TD_CLASS_fp;                  /* VSEL, VMAXNM, VRINT, VCVTA */
    } else if (second & 0x10u) {
        transfer(first, second, insn);
    } else {
        arithmetic(first, second, insn);
    }
}

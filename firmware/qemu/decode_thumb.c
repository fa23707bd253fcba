/* decode_thumb.c: Thumb and Thumb-2 of Armv6-M to Armv8.1-M, 16 and 32 bit.
 * Encodings: Arm v7-M ARM (DDI 0403), chapter A5; Armv8-M ARM (DDI 0553), chapter C2. */
#include "decode_coprocessor.h"
#include "insn.h"

enum { SP = 13, LR = 14, PC = 15 };

static uint8_t count_bits(uint32_t value)
{
    return (uint8_t)__builtin_popcount(value);
}

/* ---------------------------------------------------------------- 16 bit */
/* 0100xx: data processing of two registers, high registers, BX, BLX, LDR literal. */
static void data_processing16(uint32_t code, struct td_insn *insn)
{
    enum { TST = 8, CMP = 10, CMN = 11, MUL = 13 };
    enum { CMP_HIGH = 5, BX_BLX = 7 };
    uint32_t operation = td_bits(code, 9, 6);
    uint32_t high_operation = td_bits(code, 10, 8);
    if (code & 0x800u) {
        insn->class = TD_CLASS_ld;
        insn->result = (int8_t)high_operation;
        insn->base = PC;
    } else if (!(code & 0x400u)) {
        bool compares = operation == TST || operation == CMP || operation == CMN;
        insn->class = operation == MUL ? TD_CLASS_mul : TD_CLASS_alu;
        insn->result = compares ? TD_NO_REGISTER : (int8_t)td_bits(code, 2, 0);
    } else if (high_operation == BX_BLX) {
        insn->links = (code & 0x80u) != 0;
        bool returns = td_bits(code, 6, 3) == LR;
        insn->writes_pc = true;
        insn->class = insn->links || returns ? TD_CLASS_call : TD_CLASS_b;
    } else if (high_operation != CMP_HIGH) {
        insn->result = (int8_t)((code >> 4 & 8u) | td_bits(code, 2, 0));
        if (insn->result == PC) {
            insn->result = TD_NO_REGISTER;
            td_jump(insn, TD_CLASS_b, false);
        }
    }
}

/* 1011xx: stack, compare and branch, extend, reverse, IT, hints. */
static void miscellaneous16(uint32_t code, struct td_insn *insn)
{
    uint32_t operation = td_bits(code, 11, 8);
    if ((code & 0x500u) == 0x100u) {                /* CBZ, CBNZ */
        td_jump(insn, TD_CLASS_bc, true);
    } else if ((operation & 14u) == 4u) {           /* PUSH */
        insn->class = TD_CLASS_stm;
        insn->registers = count_bits(code & 0x1FFu);
        insn->base = SP;
    } else if ((operation & 14u) == 12u) {          /* POP */
        insn->class = TD_CLASS_ldm;
        insn->registers = count_bits(code & 0x1FFu);
        insn->base = SP;
        insn->writes_pc = (code & 0x100u) != 0;
    } else if (operation == 0) {                    /* ADD SP, SUB SP */
        insn->result = SP;
    } else if (operation == 2 || (operation == 10 && (code & 0xC0u) != 0x80u)) {
        insn->result = (int8_t)td_bits(code, 2, 0); /* SXTB.., REV.. */
    } else if (operation == 15 && (code & 15u) != 0) {
        insn->class = TD_CLASS_it;
    } else {
        insn->class = TD_CLASS_other;               /* hints, CPS, BKPT */
    }
}

static void load_store16(uint32_t code, bool load, struct td_insn *insn)
{
    insn->class = load ? TD_CLASS_ld : TD_CLASS_st;
    insn->result = (int8_t)td_bits(code, 2, 0);
    insn->base = (int8_t)td_bits(code, 5, 3);
}

void td_decode_thumb16(uint32_t code, struct td_insn *insn)
{
    uint32_t register8 = td_bits(code, 10, 8);
    bool load = (code & 0x800u) != 0;
    insn->class = TD_CLASS_alu;
    switch (code >> 12) {
    case 0: case 1:                                 /* shift, add, subtract */
        insn->result = (int8_t)td_bits(code, 2, 0);
        break;
    case 2: case 3: {                               /* MOV, CMP, ADD, SUB with an 8-bit constant */
        bool compares = td_bits(code, 12, 11) == 1;
        insn->result = compares ? TD_NO_REGISTER : (int8_t)register8;
        break;
    }
    case 4:
        data_processing16(code, insn);
        break;
    case 5:                                         /* register offset */
        load_store16(code, td_bits(code, 11, 9) >= 3, insn);
        insn->register_offset = true;
        insn->index = (int8_t)td_bits(code, 8, 6);
        break;
    case 6: case 7: case 8:
        load_store16(code, load, insn);
        break;
    case 9:                                         /* relative to SP */
        insn->class = load ? TD_CLASS_ld : TD_CLASS_st;
        insn->result = (int8_t)register8;
        insn->base = SP;
        break;
    case 10:                                        /* ADR, ADD Rd, SP */
        insn->result = (int8_t)register8;
        break;
    case 11:
        miscellaneous16(code, insn);
        break;
    case 12:
        insn->class = load ? TD_CLASS_ldm : TD_CLASS_stm;
        insn->registers = count_bits(code & 0xFFu);
        insn->base = (int8_t)register8;
        break;
    case 13:
        if (td_bits(code, 11, 8) < 14) {
            td_jump(insn, TD_CLASS_bc, true);
        } else {
            insn->class = TD_CLASS_other;           /* UDF, SVC */
        }
        break;
    default:
        td_jump(insn, TD_CLASS_b, false);
    }
}

/* ---------------------------------------------------------------- 32 bit */
/* 11101 00xx: load and store multiple, double, exclusive, table branch. */
static void multiple_or_double32(uint32_t first, uint32_t second, struct td_insn *insn)
{
    uint32_t mode = td_bits(first, 8, 7);
    bool load = (first & 0x10u) != 0;
    insn->base = (int8_t)td_bits(first, 3, 0);
    if (!(first & 0x40u)) {
        bool clrm = load && insn->base == PC;
        if (mode == 0 || mode == 3 || clrm) {
            insn->class = TD_CLASS_other;           /* RFE, SRS, CLRM */
        } else {
            insn->class = load ? TD_CLASS_ldm : TD_CLASS_stm;
        }
        insn->registers = count_bits(second);
        insn->writes_pc = load && !clrm && (second & 0x8000u) != 0;
    } else if (first == 0xE97Fu && second == 0xE97Fu) {
        insn->class = TD_CLASS_other;               /* SG */
    } else if (first & 0x120u) {                    /* LDRD, STRD */
        insn->class = load ? TD_CLASS_ldm : TD_CLASS_stm;
        insn->registers = 2;
    } else if (mode == 1 && load && td_bits(second, 7, 4) < 2) {
        td_jump(insn, TD_CLASS_b, false);           /* TBB, TBH */
        insn->extra_cycle = true;
        insn->base = TD_NO_REGISTER;
    } else if (mode == 0 && !load && second >> 12 == 15) {
        insn->class = TD_CLASS_other;               /* TT */
    } else {
        insn->class = load ? TD_CLASS_ld : TD_CLASS_st; /* exclusive, acquire, release */
    }
}

/* 11110 with bit 15 of the second halfword: branches and system instructions. */
static void branch32(uint32_t first, uint32_t second, struct td_insn *insn)
{
    if ((second & 0x5000u) == 0x5000u) {            /* BL */
        td_jump(insn, TD_CLASS_call, false);
        insn->links = true;
    } else if (second & 0x4000u) {
        bool loops = !(second & 0x2000u) && (second & 1u) && !(first & 0x780u);
        if (loops) {                                /* WLS, LE */
            td_jump(insn, TD_CLASS_bc, true);
        } else {
            insn->class = second == 0xE801u ? TD_CLASS_mve : TD_CLASS_other;    /* VCTP; DLS, BF */
        }
    } else if (second & 0x1000u) {
        td_jump(insn, TD_CLASS_b, false);
    } else if (td_bits(first, 9, 6) < 14) {
        td_jump(insn, TD_CLASS_bc, true);
    } else {
        insn->class = TD_CLASS_other;               /* MSR, MRS, hints, barriers */
    }
}

/* 11111010: shifts, extends, parallel and saturating additions, reverse, count. */
static void register32(uint32_t first, uint32_t second, struct td_insn *insn)
{
    uint32_t operation = td_bits(first, 6, 4);
    bool simd;
    insn->result = (int8_t)td_bits(second, 11, 8);
    if (first & 0x80u) {
        bool reverse_or_count = (second & 0xC0u) == 0x80u && operation != 0 && operation != 2;
        simd = !reverse_or_count;                   /* QADD and SEL have 0 and 2 */
    } else {
        bool extends = (second & 0x80u) != 0;
        bool two_halves = operation == 2 || operation == 3; /* SXTB16, UXTB16 */
        bool adds = td_bits(first, 3, 0) != PC;
        simd = extends && (two_halves || adds);
    }
    if (simd) {
        insn->class = TD_CLASS_simd;
    }
}

/* 11111011: multiply and divide. */
static void multiply32(uint32_t first, uint32_t second, struct td_insn *insn)
{
    enum { USAD8 = 7 };
    uint32_t operation = td_bits(first, 6, 4);
    bool adds = second >> 12 != 15;
    insn->result = (int8_t)td_bits(second, 11, 8);
    if (first & 0x80u) {
        bool divides = (first & 0x10u) && operation < 4;
        insn->class = divides ? TD_CLASS_div : TD_CLASS_mull;
        insn->accumulates = (first & 0x40u) != 0;
    } else if (operation == USAD8) {
        insn->class = TD_CLASS_simd;
    } else {
        bool mls = operation == 0 && (second & 0xF0u) != 0;
        insn->class = adds || mls ? TD_CLASS_mac : TD_CLASS_mul;
    }
}

/* 1111100x: load and store of one item. */
static void load_store32(uint32_t first, uint32_t second, struct td_insn *insn)
{
    bool load = (first & 0x10u) != 0;
    uint32_t target = second >> 12;
    bool vector_or_reserved = (first & 0xFF00u) == 0xF900u && !load;
    bool preload = load && target == PC && td_bits(first, 6, 5) != 2;
    if (vector_or_reserved || preload) {
        insn->class = TD_CLASS_other;
        return;
    }
    insn->class = load ? TD_CLASS_ld : TD_CLASS_st;
    insn->result = (int8_t)target;
    insn->base = (int8_t)td_bits(first, 3, 0);
    insn->writes_pc = load && target == PC;
    if (!(first & 0x80u) && insn->base != PC && !(second & 0xFC0u)) {
        insn->register_offset = true;
        insn->index = (int8_t)td_bits(second, 3, 0);
    }
}

void td_decode_thumb32(uint32_t first, uint32_t second, struct td_insn *insn)
{
    enum { GROUP_1 = 0x1D, GROUP_2 = 0x1E };
    uint32_t group = first >> 11;
    insn->class = TD_CLASS_alu;
    if (group != GROUP_2 && (first & 0x400u)) {
        td_decode_coprocessor(first, second, insn);
    } else if (group == GROUP_1 && (first & 0x200u)) {  /* shifted register */
        insn->result = (int8_t)td_bits(second, 11, 8);
        if (td_bits(first, 8, 5) == 6) {
            insn->class = TD_CLASS_simd;            /* PKHBT, PKHTB */
        }
    } else if (group == GROUP_1) {
        multiple_or_double32(first, second, insn);
    } else if (group == GROUP_2 && !(second & 0x8000u)) {   /* constant */
        insn->result = (int8_t)td_bits(second, 11, 8);
        if ((first & 0xFF70u) == 0xF320u && !(second & 0x70C0u)) {
            insn->class = TD_CLASS_simd;            /* SSAT16, USAT16 */
        }
    } else if (group == GROUP_2) {
        branch32(first, second, insn);
    } else if ((first & 0xFF00u) == 0xFA00u) {
        register32(first, second, insn);
    } else if ((first & 0xFF00u) == 0xFB00u) {
        multiply32(first, second, insn);
    } else {
        load_store32(first, second, insn);
    }
}

/* decode_riscv.c: RV32IMAFC.
 * Encodings: The RISC-V Instruction Set Manual, volume I, "RV32/64G Instruction Set Listings" and
 * chapter "C Standard Extension for Compressed Instructions". */
#include "insn.h"

enum { RA = 1 };

static void multiply_divide(uint32_t funct3, struct td_insn *insn)
{
    if (funct3 == 0) {
        insn->class = TD_CLASS_mul;
    } else {
        insn->class = funct3 < 4 ? TD_CLASS_mull : TD_CLASS_div;
    }
}

static void jump(bool indirect, uint32_t rd, uint32_t rs1, struct td_insn *insn)
{
    bool returns = indirect && rd == 0 && rs1 == RA;
    td_jump(insn, rd == RA || returns ? TD_CLASS_call : TD_CLASS_b, false);
    insn->links = rd == RA;
}

void td_decode_riscv(uint32_t code, struct td_insn *insn)
{
    enum {
        LOAD = 0x03, LOAD_FP = 0x07, OP_IMM = 0x13, AUIPC = 0x17, STORE = 0x23, STORE_FP = 0x27,
        AMO = 0x2F, OP = 0x33, LUI = 0x37, MADD = 0x43, MSUB = 0x47, NMSUB = 0x4B, NMADD = 0x4F,
        OP_FP = 0x53, BRANCH = 0x63, JALR = 0x67, JAL = 0x6F,
    };
    enum { FDIV = 3, FSQRT = 11 };
    uint32_t funct3 = td_bits(code, 14, 12);
    uint32_t funct5 = td_bits(code, 31, 27);
    uint32_t rd = td_bits(code, 11, 7);
    uint32_t rs1 = td_bits(code, 19, 15);
    insn->class = TD_CLASS_other;                   /* FENCE, SYSTEM, custom */
    switch (td_bits(code, 6, 0)) {
    case LOAD: case AMO:
        insn->class = TD_CLASS_ld;
        break;
    case STORE:
        insn->class = TD_CLASS_st;
        break;
    case LOAD_FP:
        insn->class = TD_CLASS_fld;
        insn->registers = 1;
        break;
    case STORE_FP:
        insn->class = TD_CLASS_fst;
        insn->registers = 1;
        break;
    case OP_IMM: case AUIPC: case LUI:
        insn->class = TD_CLASS_alu;
        break;
    case OP:
        insn->class = TD_CLASS_alu;
        if (td_bits(code, 31, 25) == 1) {
            multiply_divide(funct3, insn);
        }
        break;
    case MADD: case MSUB: case NMSUB: case NMADD:
        insn->class = TD_CLASS_fmac;
        break;
    case OP_FP:
        insn->class = funct5 == FDIV || funct5 == FSQRT ? TD_CLASS_fdiv : TD_CLASS_fp;
        break;
    case BRANCH:
        td_jump(insn, TD_CLASS_bc, true);
        break;
    case JALR:
        jump(true, rd, rs1, insn);
        break;
    case JAL:
        jump(false, rd, rs1, insn);
        break;
    default:
        break;
    }
}

/* Quadrant 2, funct3 100: C.MV and C.ADD have a second register; without one jumps and C.EBREAK. */
static void register_or_jump(uint32_t code, struct td_insn *insn)
{
    uint32_t rd = td_bits(code, 11, 7);
    if (td_bits(code, 6, 2) != 0) {
        insn->class = TD_CLASS_alu;
    } else if (rd != 0) {
        bool links = (code & 0x1000u) != 0;
        td_jump(insn, links || rd == RA ? TD_CLASS_call : TD_CLASS_b, false);
        insn->links = links;
    }
}

void td_decode_riscv_compressed(uint32_t code, struct td_insn *insn)
{
    insn->class = TD_CLASS_alu;
    switch (td_bits(code, 1, 0) << 3 | td_bits(code, 15, 13)) {  /* quadrant, funct3 */
    case 0x00:
        if (!(code & 0x1FE0u)) {
            insn->class = TD_CLASS_other;           /* the all-zero word is illegal */
        }
        break;
    case 0x01: case 0x03: case 0x11: case 0x13:
        insn->class = TD_CLASS_fld;
        insn->registers = 1;
        break;
    case 0x05: case 0x07: case 0x15: case 0x17:
        insn->class = TD_CLASS_fst;
        insn->registers = 1;
        break;
    case 0x02: case 0x12:
        insn->class = TD_CLASS_ld;
        break;
    case 0x06: case 0x16:
        insn->class = TD_CLASS_st;
        break;
    case 0x04:
        insn->class = TD_CLASS_other;
        break;
    case 0x09:                                      /* C.JAL */
        td_jump(insn, TD_CLASS_call, false);
        insn->links = true;
        break;
    case 0x0D:                                      /* C.J */
        td_jump(insn, TD_CLASS_b, false);
        break;
    case 0x0E: case 0x0F:                           /* C.BEQZ, C.BNEZ */
        td_jump(insn, TD_CLASS_bc, true);
        break;
    case 0x14:
        insn->class = TD_CLASS_other;
        register_or_jump(code, insn);
        break;
    default:
        break;
    }
}

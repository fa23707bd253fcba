/* td_asm_mve.h: what the assembler blocks with Helium share. */
#ifndef TD_ASM_MVE_H
#define TD_ASM_MVE_H

#define TD_NAKED __attribute__((naked))
#define TD_UNUSED __attribute__((unused))

/* Four sums, in r0, r2, r4 and r6, become words of q0. By double registers: the order of VMOV to two
 * lanes of a vector is not the same in QEMU 7.2 as on a core. */
#define TD_COLLECT                                             \
    "vmov d0, r0, r2\n"                                        \
    "vmov d1, r4, r6\n"

/* Requantization of a vector: VQRDMULH is the reference's first rounding and VRSHL the second, but
 * for ties of negative values, which go away from zero once 1 is subtracted from each. Where no
 * output is below the zero point they are clamped anyway. */
#define TD_TIES_AWAY(sum, t)                                   \
    "vshr.s32 " t ", " sum ", #31\n"                           \
    "vadd.i32 " sum ", " sum ", " t "\n"

/* The second rounding, with the shifts in q3; q2 is written. */
#define TD_ROUND_RELU(sum)                                     \
    "vrshl.s32 " sum ", " sum ", q3\n"
#define TD_ROUND_ANY(sum)                                      \
    TD_TIES_AWAY(sum, "q2")                                    \
    TD_ROUND_RELU(sum)

/* The zero point is in q4, the limits are in q5 and q6. */
#define TD_CLAMP(sum)                                          \
    "vadd.i32 " sum ", " sum ", q4\n"                          \
    "vmax.s32 " sum ", " sum ", q5\n"                          \
    "vmin.s32 " sum ", " sum ", q6\n"

#endif

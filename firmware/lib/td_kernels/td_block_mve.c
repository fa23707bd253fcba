/* The inner blocks of the products: assembler, since they need every register that VMLADAVA can add
 * to (the even ones), and GCC does not form their loops; the macros are one description of all. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_MVE)
#include <stddef.h>

#include "td_asm_mve.h"

_Static_assert(offsetof(struct td_block_mve, stream_bytes) == 4, "the blocks load the struct at once");
_Static_assert(offsetof(struct td_block_mve, groups) == 8, "and in this order");
_Static_assert(offsetof(struct td_block_mve, out_zero) == 12, "and in this order");
_Static_assert(offsetof(struct td_block_mve, out_max) == 20, "and in this order");

/* Enters the unrolled loop at label 2, of four steps of `bytes` each, so that the first round takes
 * what is left over by whole rounds. r8: groups; r0 and `entry` are written. */
#define TD_ENTRY(bytes, entry)                                 \
    "rsb r0, r8, #0\n"                                         \
    "and r0, r0, #3\n"                                         \
    "mov " entry ", #" #bytes "\n"                             \
    "mul r0, r0, " entry "\n"                                  \
    "adr " entry ", 2f\n"                                      \
    "add " entry ", " entry ", r0\n"                           \
    "orr " entry ", " entry ", #1\n"

/* r4 stream, r6 its end, r8 groups; q4 zero, q5 minimum, q6 maximum. */
#define TD_BEGIN                                               \
    "push {r4-r11, lr}\n"                                      \
    "vpush {d8-d13}\n"                                         \
    "ldm r0, {r4, r6, r8, r10, r12, lr}\n"                     \
    "add r6, r6, r4\n"                                         \
    "vdup.32 q4, r10\n"                                        \
    "vdup.32 q5, r12\n"                                        \
    "vdup.32 q6, lr\n"

#define TD_END                                                 \
    "vpop {d8-d13}\n"                                          \
    "pop {r4-r11, pc}\n"

/* ---- two pixels: r0, r2, r4, r6 the sums of the first, r8, r10, r12, lr of the second; r1 out0,
 * r3 out1, r5 stream, r9 in0, r11 in1, r7 in0's end. On the stack: in0, in1, entry, stream's end. */

#define TD_PAIR_CHANNEL(sum0, sum1, weights)                   \
    "vldrb.8 " weights ", [r5], #16\n"                         \
    "vmladava.s8 " sum0 ", q0, " weights "\n"                  \
    "vmladava.s8 " sum1 ", q1, " weights "\n"

#define TD_PAIR_STEP                                           \
    "vldrb.8 q0, [r9], #16\n"                                  \
    "vldrb.8 q1, [r11], #16\n"                                 \
    TD_PAIR_CHANNEL("r0", "r8", "q2")                          \
    TD_PAIR_CHANNEL("r2", "r10", "q3")                         \
    TD_PAIR_CHANNEL("r4", "r12", "q2")                         \
    TD_PAIR_CHANNEL("r6", "lr", "q3")

#define TD_DEFINE_PAIR(name, ROUND)                            \
    TD_NAKED void name(TD_UNUSED const struct td_block_mve *p, TD_UNUSED const int8_t *in0,      \
                       TD_UNUSED const int8_t *in1, TD_UNUSED int8_t *out0,                      \
                       TD_UNUSED int8_t *out1)                 \
    {                                                          \
        __asm__ volatile(                                      \
            TD_BEGIN                                           \
            "mov r5, r4\n"                                     \
            "mov r9, r1\n"                                     \
            "mov r11, r2\n"                                    \
            "add r7, r1, r8, lsl #4\n"                         \
            "mov r1, r3\n"                                     \
            "ldr r3, [sp, #84]\n"                              \
            TD_ENTRY(56, "r4")                                 \
            "push {r4, r6}\n"                                  \
            "push {r9, r11}\n"                                 \
            "1: ldm r5, {r0, r2, r4, r6}\n"                    \
            "ldm r5!, {r8, r10, r12, lr}\n"                    \
            "ldr pc, [sp, #8]\n"                               \
            ".balign 4\n"                                      \
            "2: .rept 4\n"                                     \
            TD_PAIR_STEP                                       \
            ".endr\n"                                          \
            "cmp r9, r7\n"                                     \
            "bne 2b\n"                                         \
            TD_COLLECT                                         \
            "vmov d2, r8, r10\n"                               \
            "vmov d3, r12, lr\n"                               \
            "vldrw.32 q2, [r5], #16\n"                         \
            "vldrb.s32 q3, [r5], #4\n"                         \
            "vqrdmulh.s32 q0, q0, q2\n"                        \
            "vqrdmulh.s32 q1, q1, q2\n"                        \
            ROUND("q0")                                        \
            ROUND("q1")                                        \
            TD_CLAMP("q0")                                     \
            TD_CLAMP("q1")                                     \
            "ldr r0, [sp, #12]\n"                              \
            "ldrd r9, r11, [sp]\n"                             \
            "vstrb.32 q0, [r1], #4\n"                          \
            "vstrb.32 q1, [r3], #4\n"                          \
            "cmp r5, r0\n"                                     \
            "bne 1b\n"                                         \
            "add sp, sp, #16\n"                                \
            TD_END);                                           \
    }

TD_DEFINE_PAIR(td_pair_any_mve, TD_ROUND_ANY)
TD_DEFINE_PAIR(td_pair_relu_mve, TD_ROUND_RELU)

/* ---- one pixel: r0, r2, r4, r6 the sums; r1 out, r3 in, r5 stream, r7 in's begin, r8 rounds,
 * r9 stream's end, r10 entry. */

#define TD_QUAD_CHANNEL(sum, weights)                          \
    "vldrb.8 " weights ", [r5], #16\n"                         \
    "vmladava.s8 " sum ", q0, " weights "\n"

#define TD_QUAD_STEP                                           \
    "vldrb.8 q0, [r3], #16\n"                                  \
    TD_QUAD_CHANNEL("r0", "q1")                                \
    TD_QUAD_CHANNEL("r2", "q2")                                \
    TD_QUAD_CHANNEL("r4", "q1")                                \
    TD_QUAD_CHANNEL("r6", "q2")

TD_NAKED void td_quad_mve(TD_UNUSED const struct td_block_mve *p, TD_UNUSED const int8_t *in,
                          TD_UNUSED int8_t *out)
{
    __asm__ volatile(
        TD_BEGIN
        "mov r5, r4\n"
        "mov r7, r1\n"
        "mov r1, r2\n"
        "mov r9, r6\n"
        TD_ENTRY(36, "r10")
        "add r8, r8, #3\n"
        "lsr r8, r8, #2\n"
        "1: ldm r5!, {r0, r2, r4, r6}\n"
        "mov r3, r7\n"
        "dls lr, r8\n"
        "bx r10\n"
        ".balign 4\n"
        "2: .rept 4\n"
        TD_QUAD_STEP
        ".endr\n"
        "le lr, 2b\n"
        TD_COLLECT
        "vldrw.32 q2, [r5], #16\n"
        "vldrb.s32 q3, [r5], #4\n"
        "vqrdmulh.s32 q0, q0, q2\n"
        TD_ROUND_ANY("q0")
        TD_CLAMP("q0")
        "vstrb.32 q0, [r1], #4\n"
        "cmp r5, r9\n"
        "bne 1b\n"
        TD_END);
}
#endif

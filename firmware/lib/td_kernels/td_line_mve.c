/* The inner loops of DEPTHWISE_CONV_2D with Helium. A gather with writeback fetches four words of a
 * window and moves on to the next channel; one VMLADAV multiplies up to 16 taps. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_MVE)
#include <stddef.h>

#include "td_asm_mve.h"

_Static_assert(offsetof(struct td_line_mve, offset_bytes) == 4, "the loops load the struct at once");
_Static_assert(offsetof(struct td_line_mve, out_zero) == 8, "and in this order");
_Static_assert(offsetof(struct td_line_mve, out_max) == 16, "and in this order");

#define TD_TAPS(sum, words, weights)                           \
    "vldrw.u32 " words ", [q7, #4]!\n"                         \
    "vldrb.8 " weights ", [r5], #16\n"                         \
    "vmladava.s8 " sum ", " words ", " weights "\n"

#define TD_TAPS_OF_FOUR                                        \
    TD_TAPS("r0", "q0", "q1")                                  \
    TD_TAPS("r2", "q2", "q3")                                  \
    TD_TAPS("r4", "q0", "q1")                                  \
    TD_TAPS("r6", "q2", "q3")

/* q4 zero, q5 minimum, q6 maximum; r11 what lies 4 bytes before the words, r12 the offsets' begin,
 * r4 their end, r8 fours, r7 pixels, r9 and r10 what words and out advance by between pixels. */
#define TD_LINE_BEGIN                                          \
    "push {r4-r11, lr}\n"                                      \
    "vpush {d8-d15}\n"                                         \
    "ldm r0, {r4-r8}\n"                                        \
    "vdup.32 q4, r6\n"                                         \
    "vdup.32 q5, r7\n"                                         \
    "vdup.32 q6, r8\n"                                         \
    "mov r12, r4\n"                                            \
    "add r4, r4, r5\n"                                         \
    "sub r11, r1, #4\n"                                        \
    "ldrd r8, r7, [sp, #100]\n"                                \
    "ldrd r9, r10, [sp, #108]\n"                               \
    "sub r9, r9, r8, lsl #4\n"                                 \
    "sub r10, r10, r8, lsl #2\n"                               \
    "mov r1, r2\n"

/* From sums to the next four outputs. */
#define TD_LINE_OUT(ROUND)                                     \
    TD_COLLECT                                                 \
    "vldrw.32 q2, [r5], #16\n"                                 \
    "vldrb.s32 q3, [r5], #4\n"                                 \
    "vqrdmulh.s32 q0, q0, q2\n"                                \
    ROUND("q0")                                                \
    TD_CLAMP("q0")                                             \
    "vstrb.32 q0, [r1], #4\n"                                  \
    "le lr, 2b\n"

#define TD_LINE_RETURN                                         \
    "vpop {d8-d15}\n"                                          \
    "pop {r4-r11, pc}\n"

#define TD_LINE(name)                                          \
    TD_NAKED void name(TD_UNUSED const struct td_line_mve *p, TD_UNUSED const void *words,       \
                       TD_UNUSED int8_t *out, TD_UNUSED const int32_t *stream,                   \
                       TD_UNUSED uint32_t fours, TD_UNUSED uint32_t pixels,                      \
                       TD_UNUSED uint32_t step, TD_UNUSED uint32_t out_step)

/* One group: q7 holds the addresses of the words, less 4, all along. r3 stream's begin, r5 stream. */
#define TD_DEFINE_LINE_ONE(name, ROUND)                        \
    TD_LINE(name)                                              \
    {                                                          \
        __asm__ volatile(                                      \
            TD_LINE_BEGIN                                      \
            "vldrw.u32 q7, [r12]\n"                            \
            "vadd.i32 q7, q7, r11\n"                           \
            "1: mov r5, r3\n"                                  \
            "dls lr, r8\n"                                     \
            "2: ldm r5!, {r0, r2, r4, r6}\n"                   \
            TD_TAPS_OF_FOUR                                    \
            TD_LINE_OUT(ROUND)                                 \
            "vadd.i32 q7, q7, r9\n"                            \
            "add r1, r1, r10\n"                                \
            "subs r7, r7, #1\n"                                \
            "bne 1b\n"                                         \
            TD_LINE_RETURN);                                   \
    }

/* Several groups: r3 the next offsets, r7 their end. On the stack: stream's begin, pixels. */
#define TD_DEFINE_LINE(name, ROUND)                            \
    TD_LINE(name)                                              \
    {                                                          \
        __asm__ volatile(                                      \
            TD_LINE_BEGIN                                      \
            "push {r3, r7}\n"                                  \
            "mov r7, r4\n"                                     \
            "1: ldr r5, [sp]\n"                                \
            "dls lr, r8\n"                                     \
            "2: mov r3, r12\n"                                 \
            "ldm r5!, {r0, r2, r4, r6}\n"                      \
            "3: vldrw.u32 q7, [r3], #16\n"                     \
            "vadd.i32 q7, q7, r11\n"                           \
            TD_TAPS_OF_FOUR                                    \
            "cmp r3, r7\n"                                     \
            "bne 3b\n"                                         \
            "add r11, r11, #16\n"                              \
            TD_LINE_OUT(ROUND)                                 \
            "add r11, r11, r9\n"                               \
            "add r1, r1, r10\n"                                \
            "ldr r3, [sp, #4]\n"                               \
            "subs r3, r3, #1\n"                                \
            "str r3, [sp, #4]\n"                               \
            "bne 1b\n"                                         \
            "add sp, sp, #8\n"                                 \
            TD_LINE_RETURN);                                   \
    }

TD_DEFINE_LINE_ONE(td_depthwise_line_one_any_mve, TD_ROUND_ANY)
TD_DEFINE_LINE_ONE(td_depthwise_line_one_relu_mve, TD_ROUND_RELU)
TD_DEFINE_LINE(td_depthwise_line_any_mve, TD_ROUND_ANY)
TD_DEFINE_LINE(td_depthwise_line_relu_mve, TD_ROUND_RELU)
#endif

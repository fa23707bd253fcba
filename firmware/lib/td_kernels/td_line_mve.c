/* The inner loop of DEPTHWISE_CONV_2D with Helium. A gather with writeback fetches the four words of
 * a window and moves on to the next channel; one VMLADAV multiplies up to 16 taps. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_MVE)
#include <stddef.h>

#include "td_asm_mve.h"

_Static_assert(offsetof(struct td_line_mve, offset) == 0, "the loop loads the struct by these");
_Static_assert(offsetof(struct td_line_mve, out_zero) == 16, "the loop loads the struct by these");
_Static_assert(offsetof(struct td_line_mve, out_max) == 24, "the loop loads the struct by these");

#define TD_TAPS(sum, words, weights)                           \
    "vldrw.u32 " words ", [q7, #4]!\n"                         \
    "vldrb.8 " weights ", [r5], #16\n"                         \
    "vmladava.s8 " sum ", " words ", " weights "\n"

/* r0, r2, r4, r6 the sums; r1 out, r3 stream's begin, r5 stream, r7 pixels, r8 fours, r9 and r10
 * what words and out advance by between pixels; q4 zero, q5 minimum, q6 maximum, q7 the addresses of
 * the words before. */
#define TD_DEFINE_LINE(name, ROUND)                            \
    TD_NAKED void name(TD_UNUSED const struct td_line_mve *p, TD_UNUSED const void *words,       \
                       TD_UNUSED int8_t *out, TD_UNUSED const int32_t *stream,                   \
                       TD_UNUSED uint32_t fours, TD_UNUSED uint32_t pixels,                      \
                       TD_UNUSED uint32_t step, TD_UNUSED uint32_t out_step)                     \
    {                                                          \
        __asm__ volatile(                                      \
            "push {r4-r11, lr}\n"                              \
            "vpush {d8-d15}\n"                                 \
            "vldrw.u32 q7, [r0], #16\n"                        \
            "subs r1, r1, #4\n"                                \
            "vadd.i32 q7, q7, r1\n"                            \
            "ldm r0, {r4-r6}\n"                                \
            "vdup.32 q4, r4\n"                                 \
            "vdup.32 q5, r5\n"                                 \
            "vdup.32 q6, r6\n"                                 \
            "ldrd r8, r7, [sp, #100]\n"                        \
            "ldrd r9, r10, [sp, #108]\n"                       \
            "sub r9, r9, r8, lsl #4\n"                         \
            "sub r10, r10, r8, lsl #2\n"                       \
            "mov r1, r2\n"                                     \
            "1: mov r5, r3\n"                                  \
            "dls lr, r8\n"                                     \
            "2: ldm r5!, {r0, r2, r4, r6}\n"                   \
            TD_TAPS("r0", "q0", "q1")                          \
            TD_TAPS("r2", "q2", "q3")                          \
            TD_TAPS("r4", "q0", "q1")                          \
            TD_TAPS("r6", "q2", "q3")                          \
            TD_COLLECT                                         \
            "vldrw.32 q2, [r5], #16\n"                         \
            "vldrb.s32 q3, [r5], #4\n"                         \
            "vqrdmulh.s32 q0, q0, q2\n"                        \
            ROUND("q0")                                        \
            TD_CLAMP("q0")                                     \
            "vstrb.32 q0, [r1], #4\n"                          \
            "le lr, 2b\n"                                      \
            "add r1, r1, r10\n"                                \
            "vadd.i32 q7, q7, r9\n"                            \
            "subs r7, r7, #1\n"                                \
            "bne 1b\n"                                         \
            "vpop {d8-d15}\n"                                  \
            "pop {r4-r11, pc}\n");                             \
    }

TD_DEFINE_LINE(td_depthwise_line_any_mve, TD_ROUND_ANY)
TD_DEFINE_LINE(td_depthwise_line_relu_mve, TD_ROUND_RELU)
#endif

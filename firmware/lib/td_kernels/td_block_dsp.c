/* The inner blocks of the products: assembler, since the loops below need every register and the
 * order of LDM; the macros are one description of all variants.
 *
 * Requantization: with doubled sums and C = 2^(right - 1) + out_zero * 2^right, which is
 * (2 * out_zero + 1) << down, `SMMLAR sum, multiplier, C` and a shift by `right` are exactly the
 * reference's two roundings for sums that are not negative. Negative ones need C - 1; where no
 * output is below out_zero they are clamped anyway. The last bit of the shift is SSAT's. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include <stddef.h>

_Static_assert(offsetof(struct td_block_dsp, stream_bytes) == 4, "the blocks load the struct at once");
_Static_assert(offsetof(struct td_block_dsp, groups) == 8, "the blocks load the struct at once");
_Static_assert(offsetof(struct td_block_dsp, zero_and_half) == 12, "and in this order");

#define TD_NAKED __attribute__((naked))
#define TD_UNUSED __attribute__((unused))

/* `sum` becomes an output; `down` is in the lowest byte of its register, C in its own. `t` is
 * a free register, which may be C's where that serves no other sum. */
#define TD_REQUANT_RELU(sum, multiplier, c, t)                 \
    "smmlar " sum ", " sum ", " multiplier ", " c "\n"
#define TD_REQUANT_ANY(sum, multiplier, c, t)                  \
    "add " t ", " c ", " sum ", asr #31\n"                     \
    "smmlar " sum ", " sum ", " multiplier ", " t "\n"
#define TD_ROUND(sum, down)                                    \
    "asr " sum ", " sum ", " down "\n"                         \
    "ssat " sum ", #8, " sum ", asr #1\n"

/* Enters the unrolled loop at label 2, of `unroll` steps of `bytes` each, so that the first round
 * takes what is left over by whole rounds. r6: steps; r4 and `entry` are written. */
#define TD_ENTRY(unroll, bytes, entry)                         \
    "rsb r6, r6, #0\n"                                         \
    "and r6, r6, #" #unroll " - 1\n"                           \
    "mov r4, #" #bytes "\n"                                    \
    "adr " entry ", 2f\n"                                      \
    "mla " entry ", r6, r4, " entry "\n"                       \
    "orr " entry ", " entry ", #1\n"

/* ---- three pixels, two channels: r0 to r2 the sums of channel 0 for each pixel, r3 to r5 of
 * channel 1, in w8 of 256 * w1 + w0; r12 stream, lr column, r11 its end. On the stack: stream_end,
 * out[3], column, entry, zero_and_half; in b8, which needs r11, the column's end. */

#define TD_TRIPLE_W8_HALF(w)                                   \
    "ldmia lr!, {r8-r10}\n"                                    \
    "smlad r3, " w ", r8, r3\n"                                \
    "smlad r4, " w ", r9, r4\n"                                \
    "smlad r5, " w ", r10, r5\n"                               \
    "sxtb16 " w ", " w "\n"                                    \
    "smlad r0, " w ", r8, r0\n"                                \
    "smlad r1, " w ", r9, r1\n"                                \
    "smlad r2, " w ", r10, r2\n"

#define TD_TRIPLE_W8_STEP                                      \
    "ldmia r12!, {r6, r7}\n"                                   \
    TD_TRIPLE_W8_HALF("r6")                                    \
    TD_TRIPLE_W8_HALF("r7")

#define TD_TRIPLE_W16_HALF                                     \
    "ldmia r12!, {r6, r7}\n"                                   \
    "ldmia lr!, {r8-r10}\n"                                    \
    "smlad r0, r6, r8, r0\n"                                   \
    "smlad r1, r6, r9, r1\n"                                   \
    "smlad r2, r6, r10, r2\n"                                  \
    "smlad r3, r7, r8, r3\n"                                   \
    "smlad r4, r7, r9, r4\n"                                   \
    "smlad r5, r7, r10, r5\n"

#define TD_TRIPLE_W16_STEP TD_TRIPLE_W16_HALF TD_TRIPLE_W16_HALF

/* The first steps: all pixels' sums begin with their channel's bias, in r0 and r3. */
#define TD_TRIPLE_W8_FIRST                                     \
    "ldmia r12!, {r6, r7}\n"                                   \
    "ldmia lr!, {r8-r10}\n"                                    \
    "smlad r4, r6, r9, r3\n"                                   \
    "smlad r5, r6, r10, r3\n"                                  \
    "smlad r3, r6, r8, r3\n"                                   \
    "sxtb16 r6, r6\n"                                          \
    "smlad r1, r6, r9, r0\n"                                   \
    "smlad r2, r6, r10, r0\n"                                  \
    "smlad r0, r6, r8, r0\n"                                   \
    TD_TRIPLE_W8_HALF("r7")

#define TD_TRIPLE_W16_FIRST                                    \
    "ldmia r12!, {r6, r7}\n"                                   \
    "ldmia lr!, {r8-r10}\n"                                    \
    "smlad r1, r6, r9, r0\n"                                   \
    "smlad r2, r6, r10, r0\n"                                  \
    "smlad r0, r6, r8, r0\n"                                   \
    "smlad r4, r7, r9, r3\n"                                   \
    "smlad r5, r7, r10, r3\n"                                  \
    "smlad r3, r7, r8, r3\n"                                   \
    TD_TRIPLE_W16_HALF

#define TD_TRIPLE_B8_HALF(w0, w1)                              \
    "ldmia lr!, {r8-r10}\n"                                    \
    "sxtb16 r11, " w0 "\n"                                     \
    "smlad r0, r11, r8, r0\n"                                  \
    "smlad r1, r11, r9, r1\n"                                  \
    "smlad r2, r11, r10, r2\n"                                 \
    "sxtb16 r11, " w1 "\n"                                     \
    "smlad r3, r11, r8, r3\n"                                  \
    "smlad r4, r11, r9, r4\n"                                  \
    "smlad r5, r11, r10, r5\n"

#define TD_TRIPLE_B8_STEP                                      \
    "ldmia r12!, {r6, r7}\n"                                   \
    TD_TRIPLE_B8_HALF("r6", "r7")                              \
    TD_TRIPLE_B8_HALF("r6, ror #8", "r7, ror #8")

#define TD_TRIPLE_B8_FIRST                                     \
    "ldmia r12!, {r6, r7}\n"                                   \
    "ldmia lr!, {r8-r10}\n"                                    \
    "sxtb16 r11, r6\n"                                         \
    "smlad r1, r11, r9, r0\n"                                  \
    "smlad r2, r11, r10, r0\n"                                 \
    "smlad r0, r11, r8, r0\n"                                  \
    "sxtb16 r11, r7\n"                                         \
    "smlad r4, r11, r9, r3\n"                                  \
    "smlad r5, r11, r10, r3\n"                                 \
    "smlad r3, r11, r8, r3\n"                                  \
    TD_TRIPLE_B8_HALF("r6, ror #8", "r7, ror #8")

#define TD_TRIPLE_B8_DOUBLE                                    \
    "lsls r0, r0, #1\n"                                        \
    "lsls r1, r1, #1\n"                                        \
    "lsls r2, r2, #1\n"                                        \
    "lsls r3, r3, #1\n"                                        \
    "lsls r4, r4, #1\n"                                        \
    "lsls r5, r5, #1\n"

#define TD_TRIPLE_DOUBLE                                       \
    "subs r3, r3, r0\n"                                        \
    "subs r4, r4, r1\n"                                        \
    "subs r5, r5, r2\n"                                        \
    "asrs r3, r3, #7\n"                                        \
    "asrs r4, r4, #7\n"                                        \
    "asrs r5, r5, #7\n"                                        \
    "lsls r0, r0, #1\n"                                        \
    "lsls r1, r1, #1\n"                                        \
    "lsls r2, r2, #1\n"

#define TD_TRIPLE_CHANNEL(REQUANT, sum0, sum1, sum2, multiplier)                                 \
    "lsl r10, r9, r8\n"                                        \
    REQUANT(sum0, multiplier, "r10", "lr")                     \
    REQUANT(sum1, multiplier, "r10", "lr")                     \
    REQUANT(sum2, multiplier, "r10", "lr")                     \
    TD_ROUND(sum0, "r8")                                       \
    TD_ROUND(sum1, "r8")                                       \
    TD_ROUND(sum2, "r8")

#define TD_DEFINE_TRIPLE(name, FIRST, STEP, bytes, DOUBLE, KEEP_END, LOAD_END, frame, REQUANT) \
    TD_NAKED void name(TD_UNUSED const struct td_block_dsp *p, TD_UNUSED const uint32_t *column, \
                       TD_UNUSED int8_t *const *out)           \
    {                                                          \
        __asm__ volatile(                                      \
            "push {r4-r11, lr}\n"                              \
            "ldmia r2, {r8-r10}\n"                             \
            "ldmia r0, {r4-r7}\n"                              \
            "mov r12, r4\n"                                    \
            "mov lr, r1\n"                                     \
            "add r5, r5, r4\n"                                 \
            "add r11, r6, r6, lsl #1\n"                        \
            "add r11, r1, r11, lsl #3\n"                       \
            "subs r6, r6, #1\n"                                \
            TD_ENTRY(8, bytes, "r3")                           \
            "it eq\n"                                          \
            "addeq r3, r3, #8 * " #bytes "\n"                  \
            KEEP_END                                           \
            "push {r3, r7}\n"                                  \
            "push {r5, r8, r9, r10, lr}\n"                     \
            "1: ldmia r12!, {r0, r3}\n"                        \
            FIRST                                              \
            "ldr pc, [sp, #20]\n"                              \
            ".balign 4\n"                                      \
            "2: .rept 8\n"                                     \
            STEP                                               \
            ".endr\n"                                          \
            LOAD_END                                           \
            "cmp lr, r11\n"                                    \
            "bne 2b\n"                                         \
            "ldmia r12!, {r6-r8}\n"                            \
            "ldr r9, [sp, #24]\n"                              \
            DOUBLE                                             \
            TD_TRIPLE_CHANNEL(REQUANT, "r0", "r1", "r2", "r6") \
            "lsr r8, r8, #8\n"                                 \
            TD_TRIPLE_CHANNEL(REQUANT, "r3", "r4", "r5", "r7") \
            "ldmia sp, {r6, r7, r8, r9, lr}\n"                 \
            "strb r2, [r9], #1\n"                              \
            "strb r5, [r9], #1\n"                              \
            "strb r1, [r8], #1\n"                              \
            "strb r4, [r8], #1\n"                              \
            "strb r0, [r7], #1\n"                              \
            "strb r3, [r7], #1\n"                              \
            "strd r7, r8, [sp, #4]\n"                          \
            "str r9, [sp, #12]\n"                              \
            "cmp r12, r6\n"                                    \
            "bne 1b\n"                                         \
            "add sp, sp, #" #frame "\n"                        \
            "pop {r4-r11, pc}\n");                             \
    }

#define TD_W8 TD_TRIPLE_W8_FIRST, TD_TRIPLE_W8_STEP, 68, TD_TRIPLE_DOUBLE, "", "", 28
#define TD_B8 TD_TRIPLE_B8_FIRST, TD_TRIPLE_B8_STEP, 76, TD_TRIPLE_B8_DOUBLE, \
    "push {r11}\n", "ldr r11, [sp, #28]\n", 32
#define TD_W16 TD_TRIPLE_W16_FIRST, TD_TRIPLE_W16_STEP, 64, "", "", "", 28
#define TD_DEFINE_TRIPLE_OF(name, weights, REQUANT) TD_DEFINE_TRIPLE(name, weights, REQUANT)

TD_DEFINE_TRIPLE_OF(td_triple_w8_dsp, TD_W8, TD_REQUANT_ANY)
TD_DEFINE_TRIPLE_OF(td_triple_w8_relu_dsp, TD_W8, TD_REQUANT_RELU)
TD_DEFINE_TRIPLE_OF(td_triple_b8_dsp, TD_B8, TD_REQUANT_ANY)
TD_DEFINE_TRIPLE_OF(td_triple_b8_relu_dsp, TD_B8, TD_REQUANT_RELU)
TD_DEFINE_TRIPLE_OF(td_triple_w16_dsp, TD_W16, TD_REQUANT_ANY)
TD_DEFINE_TRIPLE_OF(td_triple_w16_relu_dsp, TD_W16, TD_REQUANT_RELU)

/* ---- one pixel, four channels: r0 to r3 the sums; r12 stream, lr column. On the stack: column,
 * column_end, entry, zero_and_half, stream_end, out. */

#define TD_QUAD_W8_HALF(x02, x13)                              \
    "ldmia r12!, {r4-r7}\n"                                    \
    "smlad r1, r4, " x02 ", r1\n"                              \
    "smlad r3, r5, " x02 ", r3\n"                              \
    "sxtb16 r4, r4\n"                                          \
    "sxtb16 r5, r5\n"                                          \
    "smlad r0, r4, " x02 ", r0\n"                              \
    "smlad r2, r5, " x02 ", r2\n"                              \
    "smlad r1, r6, " x13 ", r1\n"                              \
    "smlad r3, r7, " x13 ", r3\n"                              \
    "sxtb16 r6, r6\n"                                          \
    "sxtb16 r7, r7\n"                                          \
    "smlad r0, r6, " x13 ", r0\n"                              \
    "smlad r2, r7, " x13 ", r2\n"

#define TD_QUAD_W8_STEP                                        \
    "ldmia lr!, {r8-r11}\n"                                    \
    TD_QUAD_W8_HALF("r8", "r9")                                \
    TD_QUAD_W8_HALF("r10", "r11")

#define TD_QUAD_B8_TWO(rotated, x)                             \
    "sxtb16 r10, r4" rotated "\n"                              \
    "sxtb16 r11, r5" rotated "\n"                              \
    "smlad r0, r10, " x ", r0\n"                               \
    "smlad r1, r11, " x ", r1\n"                               \
    "sxtb16 r10, r6" rotated "\n"                              \
    "sxtb16 r11, r7" rotated "\n"                              \
    "smlad r2, r10, " x ", r2\n"                               \
    "smlad r3, r11, " x ", r3\n"

#define TD_QUAD_B8_HALF                                        \
    "ldmia lr!, {r8, r9}\n"                                    \
    "ldmia r12!, {r4-r7}\n"                                    \
    TD_QUAD_B8_TWO("", "r8")                                   \
    TD_QUAD_B8_TWO(", ror #8", "r9")

#define TD_QUAD_B8_STEP TD_QUAD_B8_HALF TD_QUAD_B8_HALF

#define TD_QUAD_B8_DOUBLE                                      \
    "lsls r0, r0, #1\n"                                        \
    "lsls r1, r1, #1\n"                                        \
    "lsls r2, r2, #1\n"                                        \
    "lsls r3, r3, #1\n"

#define TD_QUAD_W16_QUARTER(x)                                 \
    "ldmia r12!, {r4-r7}\n"                                    \
    "smlad r0, r4, " x ", r0\n"                                \
    "smlad r1, r5, " x ", r1\n"                                \
    "smlad r2, r6, " x ", r2\n"                                \
    "smlad r3, r7, " x ", r3\n"

#define TD_QUAD_W16_STEP                                       \
    "ldmia lr!, {r8-r11}\n"                                    \
    TD_QUAD_W16_QUARTER("r8")                                  \
    TD_QUAD_W16_QUARTER("r9")                                  \
    TD_QUAD_W16_QUARTER("r10")                                 \
    TD_QUAD_W16_QUARTER("r11")

#define TD_QUAD_DOUBLE                                         \
    "subs r1, r1, r0\n"                                        \
    "subs r3, r3, r2\n"                                        \
    "asrs r1, r1, #7\n"                                        \
    "asrs r3, r3, #7\n"                                        \
    "lsls r0, r0, #1\n"                                        \
    "lsls r2, r2, #1\n"

#define TD_QUAD_CHANNEL(sum, multiplier)                       \
    "lsl r10, r9, r8\n"                                        \
    TD_REQUANT_ANY(sum, multiplier, "r10", "r10")              \
    TD_ROUND(sum, "r8")

#define TD_DEFINE_QUAD(name, STEP, unroll, bytes, DOUBLE)      \
    TD_NAKED void name(TD_UNUSED const struct td_block_dsp *p, TD_UNUSED const uint32_t *column, \
                       TD_UNUSED int8_t *out)                  \
    {                                                          \
        __asm__ volatile(                                      \
            "push {r4-r11, lr}\n"                              \
            "mov r8, r2\n"                                     \
            "ldmia r0, {r4-r7}\n"                              \
            "mov r12, r4\n"                                    \
            "add r5, r5, r4\n"                                 \
            "add r2, r1, r6, lsl #4\n"                         \
            TD_ENTRY(unroll, bytes, "r3")                      \
            "push {r5, r8}\n"                                  \
            "push {r1, r2, r3, r7}\n"                          \
            "1: ldmia r12!, {r0-r3}\n"                         \
            "ldr lr, [sp]\n"                                   \
            "ldr pc, [sp, #8]\n"                               \
            ".balign 4\n"                                      \
            "2: .rept " #unroll "\n"                           \
            STEP                                               \
            ".endr\n"                                          \
            "ldr r4, [sp, #4]\n"                               \
            "cmp lr, r4\n"                                     \
            "bne 2b\n"                                         \
            DOUBLE                                             \
            "ldmia r12!, {r4-r8}\n"                            \
            "ldr r9, [sp, #12]\n"                              \
            TD_QUAD_CHANNEL("r0", "r4")                        \
            "lsr r8, r8, #8\n"                                 \
            TD_QUAD_CHANNEL("r1", "r5")                        \
            "lsr r8, r8, #8\n"                                 \
            TD_QUAD_CHANNEL("r2", "r6")                        \
            "lsr r8, r8, #8\n"                                 \
            TD_QUAD_CHANNEL("r3", "r7")                        \
            "ldrd r4, r5, [sp, #16]\n"                         \
            "strb r1, [r5, #1]\n"                              \
            "strb r2, [r5, #2]\n"                              \
            "strb r3, [r5, #3]\n"                              \
            "strb r0, [r5], #4\n"                              \
            "str r5, [sp, #20]\n"                              \
            "cmp r12, r4\n"                                    \
            "bne 1b\n"                                         \
            "add sp, sp, #24\n"                                \
            "pop {r4-r11, pc}\n");                             \
    }

TD_DEFINE_QUAD(td_quad_w8_dsp, TD_QUAD_W8_STEP, 8, 108, TD_QUAD_DOUBLE)
TD_DEFINE_QUAD(td_quad_b8_dsp, TD_QUAD_B8_STEP, 4, 144, TD_QUAD_B8_DOUBLE)
TD_DEFINE_QUAD(td_quad_w16_dsp, TD_QUAD_W16_STEP, 8, 84, "")
#endif

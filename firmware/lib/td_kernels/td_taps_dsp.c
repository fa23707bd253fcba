/* DEPTHWISE_CONV_2D with the DSP extension where a window's inputs lie one step apart: along one
 * axis, mostly of signals, whose lines are too short for td_depthwise_dsp.c. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include <stddef.h>

#include "td_dsp.h"
#include "td_window.h"

_Static_assert(offsetof(struct td_taps_dsp, zero_and_half) == 16, "the struct is loaded at once");

/* Two taps of four channels: r0 to r3 their sums, r6 the inputs, r7 their step, r12 stream. Bytes of
 * two channels and both taps come together before they are widened. */
#define TD_TWO_TAPS                                            \
    "ldr.w r4, [r6]\n"                                         \
    "ldr.w r5, [r6, r7]\n"                                     \
    "add.w r6, r6, r7, lsl #1\n"                               \
    "ldmia.w r12!, {r8, r9}\n"                                 \
    "pkhbt lr, r4, r5, lsl #16\n"                              \
    "pkhtb r5, r5, r4, asr #16\n"                              \
    "sxtb16 r4, lr\n"                                          \
    "sxtb16 r10, r8\n"                                         \
    "smlad r0, r10, r4, r0\n"                                  \
    "sxtb16 lr, lr, ror #8\n"                                  \
    "sxtb16 r8, r8, ror #8\n"                                  \
    "smlad r1, r8, lr, r1\n"                                   \
    "sxtb16 r4, r5\n"                                          \
    "sxtb16 r10, r9\n"                                         \
    "smlad r2, r10, r4, r2\n"                                  \
    "sxtb16 r5, r5, ror #8\n"                                  \
    "sxtb16 r9, r9, ror #8\n"                                  \
    "smlad r3, r9, r5, r3\n"                                  

/* As the blocks in td_block_dsp.c: r10 zero_and_half, down in the lowest byte of r9. */
#define TD_TAPS_OUTPUT(sum, multiplier)                        \
    "lsl " sum ", " sum ", #1\n"                               \
    "lsl lr, r10, r9\n"                                        \
    "add lr, lr, " sum ", asr #31\n"                           \
    "smmlar " sum ", " sum ", " multiplier ", lr\n"            \
    "asr " sum ", " sum ", r9\n"                               \
    "ssat " sum ", #8, " sum ", asr #1\n"

/* One position, all channels. On the stack: where a group of channels begins and where its pairs of
 * taps do in the code, in, out, end of the stream, zero_and_half. */
__attribute__((naked)) static void all_channels(__attribute__((unused)) const struct td_taps_dsp *p,
                                                __attribute__((unused)) const int8_t *in,
                                                __attribute__((unused)) uint32_t step,
                                                __attribute__((unused)) int8_t *out)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "sub sp, sp, #28\n"
        "ldmia r0, {r4-r8}\n"
        "mov r12, r4\n"
        "add r5, r5, r4\n"
        "adr r9, 2f\n"
        "add r9, r9, r6\n"
        "orr r9, r9, #1\n"
        "adr r10, 3f\n"
        "orr r10, r10, #1\n"
        "cmp r7, #0\n"
        "it eq\n"
        "moveq r10, r9\n"
        "strd r10, r9, [sp]\n"
        "strd r1, r3, [sp, #8]\n"
        "strd r5, r8, [sp, #16]\n"
        "mov r7, r2\n"
        "1: ldmia r12!, {r0-r3}\n"
        "ldr r6, [sp, #8]\n"
        "add r4, r6, #4\n"
        "str r4, [sp, #8]\n"
        "ldr pc, [sp]\n"
        ".balign 4\n"
        "3: ldr r4, [r6]\n"
        "add r6, r6, r7\n"
        "ldr r8, [r12], #4\n"
        "sxtb16 r5, r4\n"
        "sxtb16 r4, r4, ror #8\n"
        "sxtb16 r9, r8\n"
        "sxtb16 r8, r8, ror #8\n"
        "smlabb r0, r9, r5, r0\n"
        "smlatt r2, r9, r5, r2\n"
        "smlabb r1, r8, r4, r1\n"
        "smlatt r3, r8, r4, r3\n"
        "ldr pc, [sp, #4]\n"
        ".balign 4\n"
        "2: .rept 8\n"
        TD_TWO_TAPS
        ".endr\n"
        "ldmia r12!, {r4-r6, r8, r9}\n"
        "ldr r10, [sp, #20]\n"
        "ldr r11, [sp, #12]\n"
        TD_TAPS_OUTPUT("r0", "r4")
        "lsr r9, r9, #8\n"
        TD_TAPS_OUTPUT("r1", "r5")
        "lsr r9, r9, #8\n"
        TD_TAPS_OUTPUT("r2", "r6")
        "lsr r9, r9, #8\n"
        TD_TAPS_OUTPUT("r3", "r8")
        "strb r1, [r11, #1]\n"
        "strb r2, [r11, #2]\n"
        "strb r3, [r11, #3]\n"
        "strb r0, [r11], #4\n"
        "str r11, [sp, #12]\n"
        "ldr r4, [sp, #16]\n"
        "cmp r12, r4\n"
        "bne 1b\n"
        "add sp, sp, #28\n"
        "pop {r4-r11, pc}\n");
}

void td_taps_depthwise_s8_dsp(const struct td_taps_depthwise_s8_dsp *p, const int8_t *in, int8_t *out,
                              void *scratch)
{
    const struct td_window *w = &p->window;
    uint32_t channels = w->in_c;
    int8_t *start = out;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * channels)
        for (uint32_t i = 0; i < w->out_h; i++) {
            int32_t y = (int32_t)(i * w->stride_h) - w->pad_top, x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w, out += channels) {
                if (td_window_inside(w, y, x)) {
                    const int8_t *from = in + (y * w->in_w + x) * (int32_t)channels;
                    all_channels(&p->taps, from, p->step, out);
                } else {
                    td_window_gather(w, channels, in, y, x, p->in_zero, scratch);
                    all_channels(&p->taps, scratch, channels, out);
                }
            }
        }
    td_clamp_bytes(start, (uint32_t)(out - start), p->out_min, p->out_max);
}
#endif

/* One line of one channel of a depthwise 3x3 convolution, in pairs of outputs; see
 * td_depthwise_dsp.c for the plane it reads, td_block_dsp.c for the requantization. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include <stddef.h>

#include "td_dsp.h"

_Static_assert(offsetof(struct td_line_dsp, pairs) == 12, "the assembler counts on it");
_Static_assert(offsetof(struct td_line_dsp, out_step) == 20, "the assembler counts on it");
_Static_assert(offsetof(struct td_line_dsp, zero_and_half) == 24, "the assembler counts on it");

#define TD_NAKED __attribute__((naked))
#define TD_UNUSED __attribute__((unused))

/* A row of weights (w0, w1, w2, -) in r12 becomes 2 * (w0, w1) and 2 * (w1, w2). */
#define TD_LINE_WEIGHTS(offset, w01, w12)                      \
    "ldr r12, [r3, #" offset "]\n"                             \
    "ldr r12, [r0, r12]\n"                                     \
    "sxtb16 r10, r12\n"                                        \
    "sxtb16 r11, r12, ror #8\n"                                \
    "sadd16 r10, r10, r10\n"                                   \
    "sadd16 r11, r11, r11\n"                                   \
    "pkhbt " w01 ", r10, r11, lsl #16\n"                       \
    "pkhbt " w12 ", r11, r10\n"

/* The sums r12 and lr of two neighbouring outputs: x = (x0, x1), (x2, x3) of each row against
 * r4 to r6, the rows' (w0, w1), and r7 to r9, their (w1, w2). r0: plane. */
#define TD_LINE_SUMS_1                                         \
    "ldrd r2, r3, [r0], #12\n"                                 \
    "ldr lr, [sp, #8]\n"                                       \
    "smlad r12, r2, r4, lr\n"                                  \
    "smlatb lr, r2, r4, lr\n"                                  \
    "smlad r12, r3, r5, r12\n"                                 \
    "smlatb lr, r3, r5, lr\n"                                  \
    "ldrd r2, r3, [r0, #-4]\n"                                 \
    "smlad r12, r2, r6, r12\n"                                 \
    "smlatb lr, r2, r6, lr\n"                                  \
    "smlabt r12, r3, r7, r12\n"                                \
    "smlad lr, r3, r7, lr\n"                                   \
    "ldrd r2, r3, [r0, #4]\n"                                  \
    "smlabt r12, r2, r8, r12\n"                                \
    "smlad lr, r2, r8, lr\n"                                   \
    "smlabt r12, r3, r9, r12\n"                                \
    "smlad lr, r3, r9, lr\n"

/* The same with stride 2: (x0, x1), (x2, x3), (x4, -). */
#define TD_LINE_SUMS_2                                         \
    "ldrd r2, r3, [r0], #24\n"                                 \
    "ldr lr, [sp, #8]\n"                                       \
    "smlad r12, r2, r4, lr\n"                                  \
    "smlad r12, r3, r5, r12\n"                                 \
    "ldrd r2, r3, [r0, #-16]\n"                                \
    "smlad r12, r2, r6, r12\n"                                 \
    "smlabt r12, r3, r7, r12\n"                                \
    "smlad lr, r3, r4, lr\n"                                   \
    "ldrd r2, r3, [r0, #-8]\n"                                 \
    "smlabt r12, r2, r8, r12\n"                                \
    "smlad lr, r2, r5, lr\n"                                   \
    "smlabt r12, r3, r9, r12\n"                                \
    "smlad lr, r3, r6, lr\n"                                   \
    "ldrd r2, r3, [r0]\n"                                      \
    "smlabt lr, r2, r7, lr\n"                                  \
    "smlabt lr, r3, r8, lr\n"                                  \
    "ldr r2, [r0, #8]\n"                                       \
    "smlabt lr, r2, r9, lr\n"

#define TD_LINE_SCALE_RELU                                     \
    "ldrd r2, r3, [sp]\n"                                      \
    "smmlar lr, lr, r2, r3\n"                                  \
    "smmlar r12, r12, r2, r3\n"
#define TD_LINE_SCALE_ANY                                      \
    "ldrd r2, r3, [sp]\n"                                      \
    "add r11, r3, lr, asr #31\n"                               \
    "add r3, r3, r12, asr #31\n"                               \
    "smmlar lr, lr, r2, r11\n"                                 \
    "smmlar r12, r12, r2, r3\n"                                \
    "ldr r11, [sp, #20]\n"

#define TD_LINE_PAIR(SUMS, SCALE)                              \
    SUMS                                                       \
    SCALE                                                      \
    "asr lr, lr, r10\n"                                        \
    "asr r12, r12, r10\n"                                      \
    "ssat lr, #8, lr, asr #1\n"                                \
    "ssat r12, #8, r12, asr #1\n"                              \
    "strb lr, [r1, r11]\n"                                     \
    "strb r12, [r1]\n"                                         \
    "add r1, r1, r11, lsl #1\n"

/* On the stack: multiplier, C, bias, end of the pairs in the plane, odd, out_step. r1 out, r10
 * down, r11 out_step. Two pairs a round, the first round perhaps only one. A last output alone is
 * the first of a pair whose second one goes to the same place before it. */
#define TD_DEFINE_LINE(name, SUMS, SCALE, words_shift, bytes)  \
    TD_NAKED void name(TD_UNUSED const int32_t *constants, TD_UNUSED const uint32_t *plane,      \
                       TD_UNUSED int8_t *out, TD_UNUSED const struct td_line_dsp *p)             \
    {                                                          \
        __asm__ volatile(                                      \
            "push {r4-r11, lr}\n"                              \
            "sub sp, sp, #24\n"                                \
            "ldrd r12, lr, [r0], #8\n"                         \
            "str r12, [sp, #8]\n"                              \
            "str lr, [sp]\n"                                   \
            TD_LINE_WEIGHTS("0", "r4", "r7")                   \
            TD_LINE_WEIGHTS("4", "r5", "r8")                   \
            TD_LINE_WEIGHTS("8", "r6", "r9")                   \
            "ldrb r10, [r0, #3]\n"                             \
            "ldr r12, [r3, #24]\n"                             \
            "lsl r12, r12, r10\n"                              \
            "str r12, [sp, #4]\n"                              \
            "ldrd r12, lr, [r3, #12]\n"                        \
            "ldr r11, [r3, #20]\n"                             \
            "strd lr, r11, [sp, #16]\n"                        \
            "mov r0, r1\n"                                     \
            "mov r1, r2\n"                                     \
            "cmp r12, #0\n"                                    \
            "beq 3f\n"                                         \
            "add r2, r12, r12, lsl #1\n"                       \
            "add r2, r0, r2, lsl #" #words_shift "\n"          \
            "str r2, [sp, #12]\n"                              \
            "tst r12, #1\n"                                    \
            "bne 2f\n"                                         \
            "1:\n"                                             \
            TD_LINE_PAIR(SUMS, SCALE)                          \
            "2:\n"                                             \
            TD_LINE_PAIR(SUMS, SCALE)                          \
            "ldr r2, [sp, #12]\n"                              \
            "cmp r0, r2\n"                                     \
            "bne 1b\n"                                         \
            "3: ldr r3, [sp, #16]\n"                           \
            "cbz r3, 4f\n"                                     \
            "movs r2, #0\n"                                    \
            "mov r11, r2\n"                                    \
            "add r3, r0, #" #bytes "\n"                        \
            "str r3, [sp, #12]\n"                              \
            "strd r2, r11, [sp, #16]\n"                        \
            "b 2b\n"                                           \
            "4: add sp, sp, #24\n"                             \
            "pop {r4-r11, pc}\n");                             \
    }

TD_DEFINE_LINE(td_line_3x3_dsp, TD_LINE_SUMS_1, TD_LINE_SCALE_ANY, 2, 12)
TD_DEFINE_LINE(td_line_3x3_relu_dsp, TD_LINE_SUMS_1, TD_LINE_SCALE_RELU, 2, 12)
TD_DEFINE_LINE(td_line_3x3_stride_2_dsp, TD_LINE_SUMS_2, TD_LINE_SCALE_ANY, 3, 24)
TD_DEFINE_LINE(td_line_3x3_stride_2_relu_dsp, TD_LINE_SUMS_2, TD_LINE_SCALE_RELU, 3, 24)

/* Any window. The plane's words of a pair of outputs follow one another, and each meets a word of
 * weights of the first output, and one of the second, whose weights lie `stride` inputs later. */

/* Where the next weight of a row goes, in halves: words of `rows` rows alternate. */
TD_INLINE uint32_t behind(uint32_t at, uint32_t rows)
{
    return at + 1 + (at & 1) * (2 * rows - 2);
}

/* Spread int8 weights [rows][k] to doubled halves [words][rows][2] for the first output, and behind
 * those for the second. */
static void spread(const struct td_line_dsp *p, const int8_t *weights)
{
    uint32_t rows = p->rows, halves = 2 * p->words * rows;
    int16_t *first = p->weights, *second = first + halves;
    memset(first, 0, 4 * halves);
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t at = 2 * row, later = 2 * (p->stride / 2 * rows + row) + p->stride % 2;
        for (uint32_t k = p->k; k > 0; k--) {
            int16_t w = (int16_t)(2 * *weights++);
            first[at] = w;
            second[later] = w;
            at = behind(at, rows);
            later = behind(later, rows);
        }
    }
}

/* Both sums of `count` words (an even number) of the plane. */
TD_INLINE void two_sums(const uint32_t *x, const int16_t *first, uint32_t count, int32_t *sum0,
                        int32_t *sum1)
{
    const uint32_t *end = x + count;
    const int16_t *second = first + 2 * count;
    uint32_t x0, x1, w0, w1;
    do {
        __asm__("ldrd %[x0], %[x1], [%[x]], #8\n"
                "ldrd %[w0], %[w1], [%[first]], #8\n"
                "smlad %[sum0], %[x0], %[w0], %[sum0]\n"
                "smlad %[sum0], %[x1], %[w1], %[sum0]\n"
                "ldrd %[w0], %[w1], [%[second]], #8\n"
                "smlad %[sum1], %[x0], %[w0], %[sum1]\n"
                "smlad %[sum1], %[x1], %[w1], %[sum1]\n"
                : [x] "+&r"(x), [first] "+&r"(first), [second] "+&r"(second), [x0] "=&r"(x0),
                  [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1), [sum0] "+&r"(*sum0),
                  [sum1] "+&r"(*sum1)
                :
                : "memory");
    } while (x != end);
}

void td_line_any_dsp(const int32_t *constants, const uint32_t *plane, int8_t *out,
                     const struct td_line_dsp *p)
{
    int32_t bias = constants[0], multiplier = constants[1], down = constants[2];
    int32_t c = (int32_t)((uint32_t)p->zero_and_half << down);
    uint32_t step = p->stride * p->rows, count = p->words * p->rows, out_step = p->out_step;
    spread(p, (const int8_t *)(constants + 3));
    for (uint32_t pairs = p->pairs; pairs > 0; pairs--, plane += step, out += 2 * out_step) {
        int32_t sum0 = bias, sum1 = bias;
        two_sums(plane, p->weights, count, &sum0, &sum1);
        out[0] = td_output(sum0, multiplier, c, down);
        out[out_step] = td_output(sum1, multiplier, c, down);
    }
    if (p->odd) {
        int32_t sum0 = bias, sum1 = bias;
        two_sums(plane, p->weights, count, &sum0, &sum1);
        out[0] = td_output(sum0, multiplier, c, down);
    }
}
#endif

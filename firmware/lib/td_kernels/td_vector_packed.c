/* FULLY_CONNECTED of one row: eight channels at a time, so that a load of an input serves eight. */
#include "td_packed.h"

#define TD_VECTOR_CHANNELS 8    /* two groups of weights */

#if defined(__ARM_ARCH_7M__)
/* r0 inputs, r1 and r2 weights of the two groups, r4 to r11 the sums; on the stack: the inputs' end,
 * `sums`. The loop is entered so that its first round takes what is left over by whole rounds. Loads
 * stand together, since one behind another takes a cycle less. */
#define TD_STEP                         \
    "ldrsb.w r3, [r0], #1\n"            \
    "ldrsb.w r12, [r1], #1\n"           \
    "ldrsb.w lr, [r1], #1\n"            \
    "mla r4, r12, r3, r4\n"             \
    "mla r5, lr, r3, r5\n"              \
    "ldrsb.w r12, [r1], #1\n"           \
    "ldrsb.w lr, [r1], #1\n"            \
    "mla r6, r12, r3, r6\n"             \
    "mla r7, lr, r3, r7\n"              \
    "ldrsb.w r12, [r2], #1\n"           \
    "ldrsb.w lr, [r2], #1\n"            \
    "mla r8, r12, r3, r8\n"             \
    "mla r9, lr, r3, r9\n"              \
    "ldrsb.w r12, [r2], #1\n"           \
    "ldrsb.w lr, [r2], #1\n"            \
    "mla r10, r12, r3, r10\n"           \
    "mla r11, lr, r3, r11\n"           
#define TD_STEP_BYTES "68"

/* sums[c] of two groups. */
__attribute__((naked)) static void two_groups(__attribute__((unused)) const int8_t *in,
                                              __attribute__((unused)) const int8_t *first,
                                              __attribute__((unused)) const int8_t *second,
                                              __attribute__((unused)) uint32_t depth,
                                              __attribute__((unused)) int32_t *sums)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "add r12, r0, r3\n"
        "push {r12}\n"
        "rsb r3, r3, #0\n"
        "and r3, r3, #7\n"
        "movs r4, #" TD_STEP_BYTES "\n"
        "adr r12, 1f\n"
        "mla r12, r3, r4, r12\n"
        "orr r12, r12, #1\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "mov r8, r4\n"
        "mov r9, r4\n"
        "mov r10, r4\n"
        "mov r11, r4\n"
        "bx r12\n"
        ".balign 4\n"
        "1: .rept 8\n"
        TD_STEP
        ".endr\n"
        "ldr r3, [sp]\n"
        "cmp r0, r3\n"
        "bne 1b\n"
        "ldr r3, [sp, #40]\n"
        "stmia r3, {r4-r11}\n"
        "add sp, sp, #4\n"
        "pop {r4-r11, pc}\n");
}
#else
#define TD_STEP(k)                      \
    do {                                \
        int32_t x = in[k];              \
        s0 += x * first[4 * (k)];       \
        s1 += x * first[4 * (k) + 1];   \
        s2 += x * first[4 * (k) + 2];   \
        s3 += x * first[4 * (k) + 3];   \
        s4 += x * second[4 * (k)];      \
        s5 += x * second[4 * (k) + 1];  \
        s6 += x * second[4 * (k) + 2];  \
        s7 += x * second[4 * (k) + 3];  \
    } while (0)

static void two_groups(const int8_t *in, const int8_t *first, const int8_t *second, uint32_t depth,
                       int32_t *sums)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
    for (; depth >= 4; depth -= 4, in += 4, first += 16, second += 16) {
        TD_STEP(0);
        TD_STEP(1);
        TD_STEP(2);
        TD_STEP(3);
    }
    for (; depth > 0; depth--, in++, first += 4, second += 4)
        TD_STEP(0);
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
    sums[4] = s4;
    sums[5] = s5;
    sums[6] = s6;
    sums[7] = s7;
}
#endif

void td_vector_s8_packed(const struct td_matmul_s8 *p, const int8_t *in, int8_t *out)
{
    const int8_t *weights = p->weights;
    const int32_t *bias = p->bias;
    uint32_t group = 4 * p->depth;
    uint32_t c = 0;
    for (; c < p->channels; weights += 2 * group) {
        int32_t sums[TD_VECTOR_CHANNELS];
        const int32_t *sum = sums, *end = sums + TD_VECTOR_CHANNELS;
        /* Without a second group the first is computed twice. */
        two_groups(in, weights, p->channels - c > 4 ? weights + group : weights, p->depth, sums);
        for (; sum != end && c + 4 <= p->channels; sum += 4, c += 4)
            td_scale_four(&p->scale, sum[0] + bias[c], sum[1] + bias[c + 1], sum[2] + bias[c + 2],
                          sum[3] + bias[c + 3], c, out);
        for (; sum != end && c < p->channels; sum++, c++)
            out[c] = (int8_t)td_scale_channel(&p->scale, *sum + bias[c], c);
    }
}

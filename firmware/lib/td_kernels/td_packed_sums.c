/* The inner loop of the products of three pixels: two words of the column with four channels. */
#include "td_packed.h"

#if defined(__ARM_ARCH_7M__)
/* GCC forms no LDM and keeps fewer sums in registers. r0 column, r1 weights, r4 to r11 the sums; on
 * the stack: column's end, `sums`. The loop is entered so that its first round takes what is left
 * over by whole rounds of 8 steps. */
#define TD_STEP                                 \
    "ldmia.n r0!, {r2, r3}\n"                   \
    "ldrsb.w r12, [r1], #1\n"                   \
    "ldrsb.w lr, [r1], #1\n"                    \
    "mla r4, r12, r2, r4\n"                     \
    "mla r5, r12, r3, r5\n"                     \
    "mla r6, lr, r2, r6\n"                      \
    "mla r7, lr, r3, r7\n"                      \
    "ldrsb.w r12, [r1], #1\n"                   \
    "ldrsb.w lr, [r1], #1\n"                    \
    "mla r8, r12, r2, r8\n"                     \
    "mla r9, r12, r3, r9\n"                     \
    "mla r10, lr, r2, r10\n"                    \
    "mla r11, lr, r3, r11\n"
#define TD_STEP_BYTES "50"

__attribute__((naked)) void
td_packed_sums(__attribute__((unused)) const uint32_t *column,
               __attribute__((unused)) const int8_t *weights,
               __attribute__((unused)) uint32_t steps, __attribute__((unused)) uint32_t *sums,
               __attribute__((unused)) uint32_t next)
{
    __asm__ volatile(
        "push {r3-r11, lr}\n"
        "add r12, r0, r2, lsl #3\n"
        "push {r12}\n"
        "rsb r2, r2, #0\n"
        "and r2, r2, #7\n"
        "movs r3, #" TD_STEP_BYTES "\n"
        "adr r12, 1f\n"
        "mla r12, r2, r3, r12\n"
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
        "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 1b\n"
        "ldr r2, [sp, #4]\n"
        "stmia r2, {r4-r11}\n"
        "add sp, sp, #8\n"
        "pop {r4-r11, pc}\n");
}
#elif TD_PACKED_GROUPS == 2
/* Channel c of a group. */
#define TD_CHANNEL(s, from, c)                  \
    do {                                        \
        uint32_t w = (uint32_t)(from)[c];       \
        (s##c##0) += w * xz;                    \
        (s##c##1) += w * yz;                    \
    } while (0)

/* One step a round: of two GCC keeps some of the sums on the stack. */
void td_packed_sums(const uint32_t *column, const int8_t *weights, uint32_t steps, uint32_t *sums,
                    uint32_t next)
{
    const int8_t *second = weights + next;
    uint32_t a00 = 0, a01 = 0, a10 = 0, a11 = 0, a20 = 0, a21 = 0, a30 = 0, a31 = 0;
    uint32_t b00 = 0, b01 = 0, b10 = 0, b11 = 0, b20 = 0, b21 = 0, b30 = 0, b31 = 0;
    const uint32_t *end = column + 2 * steps;
    do {
        uint32_t xz = column[0], yz = column[1];
        TD_CHANNEL(a, weights, 0);
        TD_CHANNEL(a, weights, 1);
        TD_CHANNEL(a, weights, 2);
        TD_CHANNEL(a, weights, 3);
        TD_CHANNEL(b, second, 0);
        TD_CHANNEL(b, second, 1);
        TD_CHANNEL(b, second, 2);
        TD_CHANNEL(b, second, 3);
        column += 2;
        weights += TD_PACKED_CHANNELS;
        second += TD_PACKED_CHANNELS;
    } while (column != end);
    sums[0] = a00;
    sums[1] = a01;
    sums[2] = a10;
    sums[3] = a11;
    sums[4] = a20;
    sums[5] = a21;
    sums[6] = a30;
    sums[7] = a31;
    sums[8] = b00;
    sums[9] = b01;
    sums[10] = b10;
    sums[11] = b11;
    sums[12] = b20;
    sums[13] = b21;
    sums[14] = b30;
    sums[15] = b31;
}
#else
void td_packed_sums(const uint32_t *column, const int8_t *weights, uint32_t steps, uint32_t *sums,
                    uint32_t next)
{
    (void)next;
    uint32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0, c0 = 0, c1 = 0, d0 = 0, d1 = 0;
    for (; steps > 0; steps--, column += 2, weights += TD_PACKED_CHANNELS) {
        uint32_t xz = column[0], yz = column[1];
        uint32_t a = (uint32_t)weights[0], b = (uint32_t)weights[1];
        uint32_t c = (uint32_t)weights[2], d = (uint32_t)weights[3];
        a0 += a * xz;
        a1 += a * yz;
        b0 += b * xz;
        b1 += b * yz;
        c0 += c * xz;
        c1 += c * yz;
        d0 += d * xz;
        d1 += d * yz;
    }
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = b0;
    sums[3] = b1;
    sums[4] = c0;
    sums[5] = c1;
    sums[6] = d0;
    sums[7] = d1;
}
#endif

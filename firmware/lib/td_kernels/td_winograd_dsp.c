/* CONV_2D 3x3 with stride 1 by Winograd's F(4,3) along rows, with the DSP extension: four outputs
 * from six products for each row of weights instead of twelve.
 *
 * Exact in integers. With the points 0, 1, -1, 2, -2 and infinity the inputs are transformed by
 * small integers, the weights (at compile time) by multiples of 1/24; they are stored 24-fold, so
 * that an output's sum comes 24-fold: its third is its product with 1/3 modulo 2^32, the rest a
 * shift. See Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, for the
 * transforms. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include <stddef.h>

#include "td_dsp.h"

_Static_assert(offsetof(struct td_winograd_block_dsp, skip_bytes) == 8, "the block loads at once");
_Static_assert(offsetof(struct td_winograd_block_dsp, gap_bytes) == 16, "the block loads at once");
_Static_assert(offsetof(struct td_winograd_block_dsp, zero_and_half) == 24, "and in this order");

#define TD_NAKED __attribute__((naked))
#define TD_UNUSED __attribute__((unused))

/* Two channels of six pixels d0 to d5, in r4 to r9; r0: where they go, r3, r10, r11: 1, 3 and 5
 * times the step between positions; r1, r2, r12, lr: the first pixel, 1, 3 and 5 times the pixels'
 * step.  position 0: 4 d0 - 5 d2 + d4, 1 and 2: (d4 - 4 d2) +- (d3 - 4 d1), 3 and 4:
 * (d4 - d2) +- 2 (d3 - d1), 5: 4 d1 - 5 d3 + d5. */
#define TD_SIX(ror, at)                                        \
    "ldr r4, [r1]\n"                                           \
    "ldr r5, [r1, r2]\n"                                       \
    "ldr r6, [r1, r2, lsl #1]\n"                               \
    "ldr r7, [r1, r12]\n"                                      \
    "ldr r8, [r1, r2, lsl #2]\n"                               \
    "ldr r9, [r1, lr]\n"                                       \
    "sxtb16 r4, r4" ror "\n"                                   \
    "sxtb16 r5, r5" ror "\n"                                   \
    "sxtb16 r6, r6" ror "\n"                                   \
    "sxtb16 r7, r7" ror "\n"                                   \
    "sxtb16 r8, r8" ror "\n"                                   \
    "sxtb16 r9, r9" ror "\n"                                   \
    "ssub16 r4, r4, r6\n"                                      \
    "sadd16 r4, r4, r4\n"                                      \
    "sadd16 r4, r4, r4\n"                                      \
    "ssub16 r4, r4, r6\n"                                      \
    "sadd16 r4, r4, r8\n"                                      \
    "str r4, [r0]\n"                                           \
    "ssub16 r4, r8, r6\n"                                      \
    "sadd16 r6, r6, r6\n"                                      \
    "sadd16 r6, r6, r6\n"                                      \
    "ssub16 r8, r8, r6\n"                                      \
    "ssub16 r6, r7, r5\n"                                      \
    "sadd16 r6, r6, r6\n"                                      \
    "ssub16 r9, r9, r7\n"                                      \
    "ssub16 r9, r9, r6\n"                                      \
    "ssub16 r9, r9, r6\n"                                      \
    "str r9, [r0, r11]\n"                                      \
    "sadd16 r5, r5, r5\n"                                      \
    "sadd16 r5, r5, r5\n"                                      \
    "ssub16 r7, r7, r5\n"                                      \
    "sadd16 r5, r8, r7\n"                                      \
    "str r5, [r0, r3]\n"                                       \
    "ssub16 r8, r8, r7\n"                                      \
    "str r8, [r0, r3, lsl #1]\n"                               \
    "sadd16 r7, r4, r6\n"                                      \
    "str r7, [r0, r10]\n"                                      \
    "ssub16 r4, r4, r6\n"                                      \
    "str r4, [r0, r3, lsl #2]\n"                               \
    "add r0, r0, #" at "\n"

/* A row of one tile: six pixels of `pixel_bytes`, to groups of four words of which every other two
 * are this tile's. */
TD_NAKED static void put_tile(TD_UNUSED uint32_t *to, TD_UNUSED const int8_t *from,
                              TD_UNUSED uint32_t pixel_bytes, TD_UNUSED uint32_t position_bytes)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "add r4, r1, r2\n"
        "push {r4}\n"
        "add r12, r2, r2, lsl #1\n"
        "add lr, r2, r2, lsl #2\n"
        "add r10, r3, r3, lsl #1\n"
        "add r11, r3, r3, lsl #2\n"
        "1:\n"
        TD_SIX("", "4")
        TD_SIX(", ror #8", "12")
        "ldr r4, [sp]\n"
        "adds r1, r1, #4\n"
        "cmp r1, r4\n"
        "bne 1b\n"
        "add sp, sp, #4\n"
        "pop {r4-r11, pc}\n");
}

/* Two tiles, two channels: r0 to r3 the sums of a position, channel 0 of both tiles first; r12
 * stream, lr column. On the stack: the sums of all positions; from 96 on: entry, end of the
 * position's inputs, where its sums go, bytes of its inputs, gap to the next one's, end of the
 * stream, column, out[2], out_step, zero_and_half. */
#define TD_WINOGRAD_STEP                                       \
    "ldmia r12!, {r4-r7}\n"                                    \
    "ldmia lr!, {r8-r11}\n"                                    \
    "smlad r0, r4, r8, r0\n"                                   \
    "smlad r1, r4, r10, r1\n"                                  \
    "smlad r2, r6, r8, r2\n"                                   \
    "smlad r3, r6, r10, r3\n"                                  \
    "smlad r0, r5, r9, r0\n"                                   \
    "smlad r1, r5, r11, r1\n"                                  \
    "smlad r2, r7, r9, r2\n"                                   \
    "smlad r3, r7, r11, r3\n"

#define TD_WINOGRAD_ANY(sum)                                   \
    "add lr, r7, " sum ", asr #31\n"                           \
    "smmlar " sum ", " sum ", r6, lr\n"
#define TD_WINOGRAD_RELU(sum)                                  \
    "smmlar " sum ", " sum ", r6, r7\n"

#define TD_WINOGRAD_OUTPUT(SCALE, sum)                         \
    "mul " sum ", " sum ", r9\n"                               \
    "asr " sum ", " sum ", #2\n"                               \
    SCALE(sum)                                                 \
    "asr " sum ", " sum ", r8\n"                               \
    "ssat " sum ", #8, " sum ", asr #1\n"

/* The four outputs whose sums lie `at` in those of a position. r6 multiplier, r7 C, r8 down, r9
 * 1/3, r10 out, r11 its step. */
#define TD_WINOGRAD_FOUR(SCALE, at)                            \
    "ldr r0, [sp, #" #at "]\n"                                 \
    "ldr r1, [sp, #" #at " + 16]\n"                            \
    "ldr r2, [sp, #" #at " + 32]\n"                            \
    "ldr r3, [sp, #" #at " + 48]\n"                            \
    "ldr r4, [sp, #" #at " + 64]\n"                            \
    "ldr r5, [sp, #" #at " + 80]\n"                            \
    "add lr, r1, r2\n"                                         \
    "sub r1, r1, r2\n"                                         \
    "add r2, r3, r4\n"                                         \
    "sub r3, r3, r4\n"                                         \
    "add r0, r0, lr\n"                                         \
    "add r0, r0, r2\n"                                         \
    "add r2, lr, r2, lsl #2\n"                                 \
    "add r4, r1, r3, lsl #1\n"                                 \
    "add r1, r1, r3, lsl #3\n"                                 \
    "add r1, r1, r5\n"                                         \
    TD_WINOGRAD_OUTPUT(SCALE, "r0")                            \
    TD_WINOGRAD_OUTPUT(SCALE, "r4")                            \
    TD_WINOGRAD_OUTPUT(SCALE, "r2")                            \
    TD_WINOGRAD_OUTPUT(SCALE, "r1")                            \
    "strb r0, [r10]\n"                                         \
    "strb r4, [r10, r11]\n"                                    \
    "add lr, r10, r11, lsl #1\n"                               \
    "strb r2, [lr]\n"                                          \
    "strb r1, [lr, r11]\n"

#define TD_WINOGRAD_CHANNEL                                    \
    "ldmia r12!, {r6, r8}\n"                                   \
    "ldr r7, [sp, #136]\n"                                     \
    "lsl r7, r7, r8\n"

#define TD_DEFINE_WINOGRAD(name, SCALE)                        \
    TD_NAKED void name(TD_UNUSED const struct td_winograd_block_dsp *p,                           \
                       TD_UNUSED const uint32_t *column, TD_UNUSED int8_t *out0,                  \
                       TD_UNUSED int8_t *out1)                 \
    {                                                          \
        __asm__ volatile(                                      \
            "push {r4-r11, lr}\n"                              \
            "sub sp, sp, #140\n"                               \
            "ldmia r0, {r4-r10}\n"                             \
            "mov r12, r4\n"                                    \
            "add r5, r5, r4\n"                                 \
            "adr r4, 2f\n"                                     \
            "add r4, r4, r6\n"                                 \
            "orr r4, r4, #1\n"                                 \
            "str r4, [sp, #96]\n"                              \
            "strd r7, r8, [sp, #108]\n"                        \
            "strd r5, r1, [sp, #116]\n"                        \
            "strd r2, r3, [sp, #124]\n"                        \
            "strd r9, r10, [sp, #132]\n"                       \
            "1: ldr lr, [sp, #120]\n"                          \
            "ldr r5, [sp, #108]\n"                             \
            "mov r6, sp\n"                                     \
            "add r4, lr, r5\n"                                 \
            "strd r4, r6, [sp, #100]\n"                        \
            "3: ldmia r12!, {r0, r2}\n"                        \
            "mov r1, r0\n"                                     \
            "mov r3, r2\n"                                     \
            "ldr pc, [sp, #96]\n"                              \
            ".balign 4\n"                                      \
            "2: .rept 12\n"                                    \
            TD_WINOGRAD_STEP                                   \
            ".endr\n"                                          \
            "ldr r4, [sp, #100]\n"                             \
            "cmp lr, r4\n"                                     \
            "bne 2b\n"                                         \
            "add r7, sp, #104\n"                               \
            "ldmia r7, {r5-r7}\n"                              \
            "stmia r5!, {r0-r3}\n"                             \
            "add lr, lr, r7\n"                                 \
            "add r4, lr, r6\n"                                 \
            "strd r4, r5, [sp, #100]\n"                        \
            "add r6, sp, #96\n"                                \
            "cmp r5, r6\n"                                     \
            "bne 3b\n"                                         \
            "movw r9, #0xaaab\n"                               \
            "movt r9, #0xaaaa\n"                               \
            "ldr r11, [sp, #132]\n"                            \
            TD_WINOGRAD_CHANNEL                                \
            "ldr r10, [sp, #124]\n"                            \
            TD_WINOGRAD_FOUR(SCALE, 0)                         \
            "ldr r10, [sp, #128]\n"                            \
            TD_WINOGRAD_FOUR(SCALE, 4)                         \
            TD_WINOGRAD_CHANNEL                                \
            "ldr r10, [sp, #124]\n"                            \
            "add r10, r10, #1\n"                               \
            TD_WINOGRAD_FOUR(SCALE, 8)                         \
            "add r10, r10, #1\n"                               \
            "str r10, [sp, #124]\n"                            \
            "ldr r10, [sp, #128]\n"                            \
            "add r10, r10, #1\n"                               \
            TD_WINOGRAD_FOUR(SCALE, 12)                        \
            "add r10, r10, #1\n"                               \
            "str r10, [sp, #128]\n"                            \
            "ldr r4, [sp, #116]\n"                             \
            "cmp r12, r4\n"                                    \
            "bne 1b\n"                                         \
            "add sp, sp, #140\n"                               \
            "pop {r4-r11, pc}\n");                             \
    }

TD_DEFINE_WINOGRAD(td_winograd_any_dsp, TD_WINOGRAD_ANY)
TD_DEFINE_WINOGRAD(td_winograd_relu_dsp, TD_WINOGRAD_RELU)

/* A row of a tile outside the image. */
static void put_outside(uint32_t *to, uint32_t groups, uint32_t position_words, int zero)
{
    uint32_t sum = (uint16_t)(-6 * zero) * 0x10001u;
    for (; groups > 0; groups--, to += 4)
        for (uint32_t j = 0; j < 6; j++) {
            uint32_t value = j == 1 ? sum : 0;
            to[j * position_words] = value;
            to[j * position_words + 1] = value;
        }
}

/* Whole words. */
static uint32_t *copy(uint32_t *to, const int8_t *from, uint32_t bytes)
{
    for (; bytes > 0; bytes -= 4, from += 4)
        *to++ = td_load_word(from);
    return to;
}

static uint32_t *fill(uint32_t *to, int byte, uint32_t bytes)
{
    for (; bytes > 0; bytes -= 4)
        *to++ = (uint8_t)byte * 0x01010101u;
    return to;
}

/* The row of the tile whose windows begin at column x of a row of the image; `edge` holds six
 * pixels. */
static void put_row(const struct td_winograd_s8_dsp *p, const int8_t *row, int32_t x, uint32_t *to,
                    uint32_t *edge)
{
    const struct td_window *w = &p->window;
    uint32_t c = w->in_c, position_bytes = 4 * p->position_words;
    if (x >= 0 && x + 6 <= w->in_w) {
        put_tile(to, row + x * (int32_t)c, c, position_bytes);
        return;
    }
    int32_t first = x < 0 ? -x : 0, end = w->in_w - x < 6 ? w->in_w - x : 6;
    uint32_t *at = fill(edge, p->in_zero, (uint32_t)first * c);
    at = copy(at, row + (x + first) * (int32_t)c, (uint32_t)(end - first) * c);
    fill(at, p->in_zero, (uint32_t)(6 - end) * c);
    put_tile(to, (const int8_t *)edge, c, position_bytes);
}

/* The outputs of two tiles side by side, `rows` of them, from column x on. */
static void two_tiles(const struct td_winograd_s8_dsp *p, const int8_t *image, int32_t y, uint32_t x,
                      uint32_t rows, int8_t *out, uint32_t *column)
{
    const struct td_window *w = &p->window;
    uint32_t c = w->in_c, channels = w->out_c, tiles = w->out_w - x > 4 ? 2 : 1;
    uint32_t *edge = column + 6 * p->position_words;
    int8_t *aside = (int8_t *)(edge + 6 * (c / 4));
    for (uint32_t r = 0; r < rows + 2; r++, y++)
        for (uint32_t t = 0; t < tiles; t++) {
            uint32_t *to = column + r * c + 2 * t;
            if (y < 0 || y >= w->in_h)
                put_outside(to, c / 4, p->position_words, p->in_zero);
            else
                put_row(p, image + y * (int32_t)(w->in_w * c), (int32_t)(x + 4 * t) - w->pad_left, to,
                        edge);
        }
    for (uint32_t r = 0; r < rows; r++, out += w->out_w * channels) {
        uint32_t left = w->out_w - x;
        int8_t *places[2] = {out, out + 4 * channels};
        for (uint32_t t = 0; t < 2; t++)
            if (left < 4 * (t + 1))
                places[t] = aside + 4 * t * channels;
        p->tiles(&p->block, column + r * c, places[0], places[1]);
        for (uint32_t t = 0; t < 2; t++)
            if (left > 4 * t && left < 4 * (t + 1))
                memcpy(out + 4 * t * channels, places[t], (left - 4 * t) * channels);
    }
}

void td_winograd_s8_dsp(const struct td_winograd_s8_dsp *p, const int8_t *in, int8_t *out,
                        void *scratch)
{
    const struct td_window *w = &p->window;
    uint32_t line = (uint32_t)w->out_w * w->out_c;
    int8_t *start = out;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c)
        for (uint32_t y = 0; y < w->out_h; y += p->tall) {
            uint32_t rows = w->out_h - y < p->tall ? w->out_h - y : p->tall;
            for (uint32_t x = 0; x < w->out_w; x += 8)
                two_tiles(p, in, (int32_t)y - w->pad_top, x, rows, out + x * w->out_c, scratch);
            out += rows * line;
        }
    td_clamp_bytes(start, (uint32_t)(out - start), p->out_min, p->out_max);
}
#endif

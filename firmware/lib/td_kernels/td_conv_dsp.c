/* CONV_2D with the DSP extension: each window becomes a pixel's column. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_product_dsp.h"

/* `count` equal bytes, a multiple of 4. */
static uint32_t *fill(uint32_t *to, int byte, uint32_t count)
{
    uint32_t halves = (uint16_t)byte * 0x10001u;
    for (; count > 0; count -= 2, to += 3)
        *to = halves;
    return to;
}

/* The window whose corner is (y, x), at a border of the image. */
static void widen_border(const struct td_conv_s8_dsp *p, const int8_t *image, int32_t y, int32_t x,
                         uint32_t *column)
{
    const struct td_window *w = &p->window;
    uint32_t row = (uint32_t)w->in_w * w->in_c, width = (uint32_t)w->k_w * w->in_c;
    int32_t first = x < 0 ? -x : 0, last = w->in_w - x < w->k_w ? w->in_w - x : w->k_w;
    for (uint32_t i = w->k_h; i > 0; i--, y++) {
        if (y < 0 || y >= w->in_h || first >= last) {
            column = fill(column, p->in_zero, width);
            continue;
        }
        column = fill(column, p->in_zero, (uint32_t)first * w->in_c);
        column = td_widen_3(column, image + (uint32_t)y * row + (x + first) * w->in_c,
                               (uint32_t)(last - first) * w->in_c, 1, 0);
        column = fill(column, p->in_zero, (uint32_t)(w->k_w - last) * w->in_c);
    }
}

/* One line of outputs, whose windows begin at row y. */
static int8_t *one_line(const struct td_conv_s8_dsp *p, struct td_waiting *waiting,
                        const int8_t *image, int32_t y, int8_t *out)
{
    const struct td_window *w = &p->window;
    uint32_t row = (uint32_t)w->in_w * w->in_c, width = (uint32_t)w->k_w * w->in_c;
    const int8_t *line = image + y * (int32_t)row;
    int rows_inside = y >= 0 && y + w->k_h <= w->in_h;
    int32_t x = -(int32_t)w->pad_left;
    for (uint32_t left = w->out_w; left > 0; left--, x += w->stride_w) {
        uint32_t *column = waiting->column + waiting->count;
        if (!rows_inside || x < 0 || x + w->k_w > w->in_w) {
            widen_border(p, image, y, x, column);
        } else if (p->widen_three && waiting->count == 0 && left >= 3 && x + 2 + w->k_w <= w->in_w) {
            p->widen_three(column, line + x * w->in_c, w->in_c, row);
            waiting->count = 2;
            left -= 2;
            x += 2;
        } else {
            td_widen_3(column, line + x * w->in_c, width, w->k_h, row);
        }
        out = td_add_pixel(&p->matmul, waiting, out);
    }
    return out;
}

void td_conv_s8_dsp(const struct td_conv_s8_dsp *p, const int8_t *in, int8_t *out, void *scratch)
{
    const struct td_window *w = &p->window;
    struct td_waiting waiting = {scratch, 0};
    int8_t *start = out;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h)
            out = one_line(p, &waiting, in, y, out);
    }
    if (waiting.count > 0)
        td_flush(&p->matmul, &waiting, out);
    td_clamp_outputs(&p->matmul.product, start);
}

/* Five neighbouring pixels serve the three windows. For each of three rows, and in it for each
 * four channels: halves 0 and 2 of the five, then 1 and 3; r0, r9 and r10 are where the window's
 * first, second and third column begin, r1 the first pixel, r12 its end. */
#define TD_WIDEN_FIVE(ror)                                      \
    "ldr r4, [r1]\n"                                            \
    "ldr r5, [r1, r2]\n"                                        \
    "ldr r6, [r1, r2, lsl #1]\n"                                \
    "ldr r7, [r1, r11]\n"                                       \
    "ldr r8, [r1, r2, lsl #2]\n"                                \
    "sxtb16 r4, r4" ror "\n"                                    \
    "sxtb16 r5, r5" ror "\n"                                    \
    "sxtb16 r6, r6" ror "\n"                                    \
    "sxtb16 r7, r7" ror "\n"                                    \
    "sxtb16 r8, r8" ror "\n"                                    \
    "stmia r0!, {r4-r6}\n"                                      \
    "stmia r9!, {r5-r7}\n"                                      \
    "stmia r10!, {r6-r8}\n"

__attribute__((naked)) void td_widen_3x3(__attribute__((unused)) uint32_t *to,
                                         __attribute__((unused)) const int8_t *from,
                                         __attribute__((unused)) uint32_t channels,
                                         __attribute__((unused)) uint32_t row_step)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "add r11, r2, r2, lsl #1\n"
        "mov lr, #3\n"
        "1: add r9, r0, r11, lsl #1\n"
        "add r10, r9, r11, lsl #1\n"
        "add r12, r1, r2\n"
        "2:\n"
        TD_WIDEN_FIVE("")
        TD_WIDEN_FIVE(", ror #8")
        "adds r1, r1, #4\n"
        "cmp r1, r12\n"
        "bne 2b\n"
        "mov r0, r10\n"
        "subs r1, r1, r2\n"
        "adds r1, r1, r3\n"
        "subs lr, lr, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}
#endif

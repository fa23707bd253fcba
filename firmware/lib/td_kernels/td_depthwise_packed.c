/* DEPTHWISE_CONV_2D, channel by channel: three rows of outputs at a time. */
#include "td_packed.h"

/* A channel's plane and its outputs. */
struct plane {
    uint32_t third;             /* rows of outputs */
    uint32_t rows, columns;
    uint32_t before, inside;    /* columns on the left of the image, and in it */
    uint32_t output_step, line_step;    /* words from one output to the next, behind a line */
};

static struct plane plane_of(const struct td_window *w, uint32_t third)
{
    struct plane s;
    s.third = third;
    s.rows = (third - 1) * w->stride_h + (w->k_h - 1u) * w->dilation_h + 1;
    s.columns = (w->out_w - 1u) * w->stride_w + (w->k_w - 1u) * w->dilation_w + 1;
    s.before = w->pad_left;
    s.inside = s.columns - s.before < w->in_w ? s.columns - s.before : w->in_w;
    s.output_step = 2 * w->stride_w;
    s.line_step = 2 * w->stride_h * s.columns - w->out_w * s.output_step;
    return s;
}

static uint32_t *fill(uint32_t *words, uint32_t count, int32_t value)
{
    for (; count > 0; count--, words += 2)
        td_packed_join(value, value, value, words);
    return words;
}

/* Packs the channel that `image` points to, for outputs from row `y` on. Rows and columns outside
 * the image are the zero point. */
static void pack(const struct td_depthwise_s8_packed *p, const struct plane *s,
                 const int8_t *image, uint32_t y, uint32_t *words)
{
    const struct td_window *w = &p->window;
    int32_t zero = p->in_zero;
    uint32_t after = s->columns - s->before - s->inside;
    uint32_t pixel = w->in_c, line = w->in_w * pixel;
    uint32_t next = s->third * w->stride_h;     /* rows from one third to the next */
    uint32_t row = y * w->stride_h - w->pad_top;
    for (uint32_t i = s->rows; i > 0; i--, row++) {
        const int8_t *from[3];
        uint32_t step[3];
        uint32_t at = row;
        _Pragma("GCC unroll 3") for (uint32_t n = 0; n < 3; n++, at += next) {
            int inside = at < w->in_h;
            from[n] = inside ? image + at * line : &p->in_zero;
            step[n] = inside ? pixel : 0;
        }
        words = fill(words, s->before, zero);
        for (uint32_t j = s->inside; j > 0; j--, words += 2) {
            td_packed_join(*from[0], *from[1], *from[2], words);
            from[0] += step[0];
            from[1] += step[1];
            from[2] += step[2];
        }
        words = fill(words, after, zero);
    }
}

#if defined(__ARM_ARCH_7M__)
/* A line of outputs of a 3x3 window: r0 words, r1 weights, r2 bytes from the end of a window's row
 * to its next, r3 how many; r4 to r9 a row, r10 and r11 the sums. */
#define TD_TAP(multiply, weight, low, high)     \
    "ldrsb lr, [r1, #" #weight "]\n"            \
    multiply(low, "r10")                        \
    multiply(high, "r11")
#define TD_FIRST(x, sum) "mul " sum ", lr, " x "\n"
#define TD_NEXT(x, sum) "mla " sum ", lr, " x ", " sum "\n"

__attribute__((naked)) static uint32_t *line_3x3(__attribute__((unused)) uint32_t *words,
                                                 __attribute__((unused)) const int8_t *weights,
                                                 __attribute__((unused)) uint32_t row_bytes,
                                                 __attribute__((unused)) uint32_t count,
                                                 __attribute__((unused)) uint32_t step_bytes)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "1: mov r12, r0\n"
        "ldmia r12!, {r4-r9}\n"
        TD_TAP(TD_FIRST, 0, "r4", "r5")
        TD_TAP(TD_NEXT, 1, "r6", "r7")
        TD_TAP(TD_NEXT, 2, "r8", "r9")
        "add r12, r12, r2\n"
        "ldmia r12!, {r4-r9}\n"
        TD_TAP(TD_NEXT, 3, "r4", "r5")
        TD_TAP(TD_NEXT, 4, "r6", "r7")
        TD_TAP(TD_NEXT, 5, "r8", "r9")
        "add r12, r12, r2\n"
        "ldmia r12, {r4-r9}\n"
        TD_TAP(TD_NEXT, 6, "r4", "r5")
        TD_TAP(TD_NEXT, 7, "r6", "r7")
        TD_TAP(TD_NEXT, 8, "r8", "r9")
        "strd r10, r11, [r0]\n"
        "ldr r12, [sp, #36]\n"
        "add r0, r0, r12\n"
        "subs r3, r3, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}
#else
static uint32_t *line_3x3(uint32_t *words, const int8_t *weights, uint32_t row_bytes,
                          uint32_t count, uint32_t step_bytes)
{
    uint32_t w0 = (uint32_t)weights[0], w1 = (uint32_t)weights[1], w2 = (uint32_t)weights[2];
    uint32_t w3 = (uint32_t)weights[3], w4 = (uint32_t)weights[4], w5 = (uint32_t)weights[5];
    uint32_t w6 = (uint32_t)weights[6], w7 = (uint32_t)weights[7], w8 = (uint32_t)weights[8];
    for (; count > 0; count--, words += step_bytes / 4) {
        const uint32_t *a = words, *b = a + row_bytes / 4 + 6, *c = b + row_bytes / 4 + 6;
        uint32_t sum0 = w0 * a[0] + w1 * a[2] + w2 * a[4] + w3 * b[0] + w4 * b[2] + w5 * b[4] +
                        w6 * c[0] + w7 * c[2] + w8 * c[4];
        uint32_t sum1 = w0 * a[1] + w1 * a[3] + w2 * a[5] + w3 * b[1] + w4 * b[3] + w5 * b[5] +
                        w6 * c[1] + w7 * c[3] + w8 * c[5];
        words[0] = sum0;
        words[1] = sum1;
    }
    return words;
}
#endif

/* A line of outputs of any window. */
static uint32_t *line_any(const struct td_window *w, const struct plane *s, const int8_t *weights,
                          uint32_t *words)
{
    uint32_t tap_step = 2u * w->dilation_w;
    uint32_t row_step = 2 * w->dilation_h * s->columns - w->k_w * tap_step;
    const int8_t *end = weights + (uint32_t)w->k_h * w->k_w;
    for (uint32_t x = w->out_w; x > 0; x--, words += s->output_step) {
        uint32_t sum0 = 0, sum1 = 0;
        const uint32_t *at = words;
        for (const int8_t *weight = weights; weight != end; at += row_step) {
            for (uint32_t j = w->k_w; j > 0; j--, at += tap_step) {
                uint32_t v = (uint32_t)*weight++;
                sum0 += v * at[0];
                sum1 += v * at[1];
            }
        }
        words[0] = sum0;
        words[1] = sum1;
    }
    return words;
}

/* Sums of all outputs. Those of an output take the place of its first tap, which none behind it
 * reads. */
static void sum(const struct td_window *w, const struct plane *s, const int8_t *weights,
                uint32_t *words)
{
    int by_three = w->k_h == 3 && w->k_w == 3 && w->dilation_w == 1;
    for (uint32_t y = s->third; y > 0; y--, words += s->line_step)
        words = by_three ? line_3x3(words, weights, 8 * w->dilation_h * s->columns - 24, w->out_w,
                                    4 * s->output_step)
                         : line_any(w, s, weights, words);
}

/* Three outputs. */
TD_INLINE void finish(const struct td_channel_scale *scale, const uint32_t *words, int relu,
                      int8_t *x, int8_t *y, int8_t *z)
{
    struct td_packed t = td_packed_split(words);
    *z = td_packed_finish(scale, t.z, relu);
    *y = td_packed_finish(scale, t.y, relu);
    *x = td_packed_finish(scale, t.x, relu);
}

/* Outputs of a channel from row `y` on. */
static void finish_lines(const struct td_depthwise_s8_packed *p, const struct plane *s,
                         uint32_t channel, uint32_t y, const uint32_t *words, int8_t *out)
{
    const struct td_window *w = &p->window;
    const struct td_channel_scale scale = td_packed_scale(
        p->scale.factors + 2 * channel, p->scale.right[channel], 2 * p->scale.out_zero + 1);
    int relu = p->scale.out_min >= p->scale.out_zero;
    uint32_t step = s->output_step, pixel = w->out_c, line = w->out_w * pixel;
    uint32_t end = y + s->third < w->out_h ? y + s->third : w->out_h;
    out += y * line;
    for (; y != end; y++, words += s->line_step) {
        /* Rows below the image give way to the first. */
        int8_t *second = y + s->third < w->out_h ? out + s->third * line : out;
        int8_t *third = y + 2 * s->third < w->out_h ? out + 2 * s->third * line : out;
        uint32_t n = 0;
        if (relu)
            for (; n != line; n += pixel, words += step)
                finish(&scale, words, 1, out + n, second + n, third + n);
        else
            for (; n != line; n += pixel, words += step)
                finish(&scale, words, 0, out + n, second + n, third + n);
        out += line;
    }
}

void td_depthwise_s8_packed(const struct td_depthwise_s8_packed *p, const int8_t *in, int8_t *out,
                            void *scratch)
{
    const struct td_window *w = &p->window;
    uint32_t taps = (uint32_t)w->k_h * w->k_w;
    struct plane s = plane_of(w, p->third);
    int8_t *start = out;
    for (uint32_t b = 0; b < w->batches; b++) {
        for (uint32_t y = 0; y < w->out_h; y += 3 * s.third) {
            const int8_t *weights = p->weights;
            for (uint32_t c = 0; c < w->out_c; c++, weights += taps) {
                pack(p, &s, in + c, y, scratch);
                sum(w, &s, weights, scratch);
                finish_lines(p, &s, c, y, scratch, out + c);
            }
        }
        in += (uint32_t)w->in_h * w->in_w * w->in_c;
        out += (uint32_t)w->out_h * w->out_w * w->out_c;
    }
    td_packed_clamp(p->scale.out_min, p->scale.out_max, start, (uint32_t)(out - start));
}

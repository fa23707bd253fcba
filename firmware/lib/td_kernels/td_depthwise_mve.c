/* DEPTHWISE_CONV_2D with Helium: four rows of a column are interleaved to words, 16 channels at a
 * time, of which td_line_mve.c makes outputs. In images of one column the four rows of a word begin
 * at every row, so that the words of a window are four rows apart. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_MVE)
#include <stddef.h>

#include "td_asm_mve.h"
#include "td_mve.h"

/* Four rows of pixels; a row outside the image is one pixel again and again. */
struct rows {
    const int8_t *at[4];
    uint32_t step[4];
};

_Static_assert(offsetof(struct rows, step) == 16, "spread() loads the struct at once");

/* `columns` > 0 columns of `lanes` channels become words; returns where they end. */
TD_NAKED static int8_t *spread(TD_UNUSED const struct rows *rows, TD_UNUSED uint32_t columns,
                               TD_UNUSED uint32_t lanes, TD_UNUSED int8_t *to)
{
    __asm__ volatile("push {r4-r11, lr}\n"
                     "ldm r0, {r4-r11}\n"
                     "vctp.8 r2\n"
                     "dls lr, r1\n"
                     "1: vpstttt\n"
                     "vldrbt.8 q0, [r4]\n"
                     "vldrbt.8 q1, [r5]\n"
                     "vldrbt.8 q2, [r6]\n"
                     "vldrbt.8 q3, [r7]\n"
                     "add r4, r4, r8\n"
                     "add r5, r5, r9\n"
                     "add r6, r6, r10\n"
                     "add r7, r7, r11\n"
                     "vst40.8 {q0, q1, q2, q3}, [r3]\n"
                     "vst41.8 {q0, q1, q2, q3}, [r3]\n"
                     "vst42.8 {q0, q1, q2, q3}, [r3]\n"
                     "vst43.8 {q0, q1, q2, q3}, [r3]!\n"
                     "le lr, 1b\n"
                     "mov r0, r3\n"
                     "pop {r4-r11, pc}\n");
}

/* The words of `count` columns from x on, of the window's rows, the first at y. `image` begins at the
 * block's channels; `outside` holds a pixel of zero points. */
static void make_words(const struct td_depthwise_s8_mve *p, const int8_t *image, int32_t y,
                       int32_t x, uint32_t count, uint32_t lanes, const int8_t *outside,
                       int8_t *words)
{
    const struct td_window *w = &p->window;
    int32_t end = x + (int32_t)count;
    int32_t from = x < 0 ? 0 : x, to = end < w->in_w ? end : w->in_w;
    uint32_t before = (uint32_t)(from - x), inside = (uint32_t)(to - from);
    for (uint32_t k = 0; k < w->k_h; k += 4, words += p->layer_bytes) {
        struct rows rows;
        for (uint32_t n = 0; n < 4; n++, y += w->dilation_h) {
            int present = k + n < w->k_h && y >= 0 && y < w->in_h;
            rows.at[n] = present ? image + (y * w->in_w + from) * w->in_c : outside;
            rows.step[n] = present ? w->in_c : 0;
        }
        int8_t *next = words;
        if (before)
            next = td_fill_bytes(next, p->in_zero, 64 * before);
        next = spread(&rows, inside, lanes, next);
        if (end > to)
            td_fill_bytes(next, p->in_zero, 64 * (uint32_t)(end - to));
    }
}

/* Outputs from words; those that are not whole fours of channels are made aside and copied. */
static void run(const struct td_depthwise_s8_mve *p, const int8_t *words, uint32_t step,
                int8_t *out, const int32_t *stream, uint32_t lanes, uint32_t pixels, int8_t *aside)
{
    uint32_t fours = (lanes + 3) / 4;
    if (lanes % 4 == 0) {
        p->run(&p->line, words, out, stream, fours, pixels, step, p->window.out_c);
        return;
    }
    p->run(&p->line, words, aside, stream, fours, pixels, step, 4 * fours);
    for (; pixels > 0; pixels--, aside += 4 * fours, out += p->window.out_c)
        td_copy_bytes(out, aside, lanes);
}

void td_depthwise_s8_mve(const struct td_depthwise_s8_mve *p, const int8_t *in, int8_t *out,
                         void *scratch)
{
    const struct td_window *w = &p->window;
    int8_t *outside = scratch, *words = outside + 16;
    int8_t *aside = words + (w->k_h + 3u) / 4 * p->layer_bytes;
    uint32_t reach = (w->k_w - 1u) * w->dilation_w + 1;
    td_fill_bytes(outside, p->in_zero, 16);
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h, out += w->out_w * w->out_c) {
            const int32_t *stream = p->stream;
            for (uint32_t c = 0; c < w->in_c; c += 16, stream += p->stream_step) {
                uint32_t lanes = w->in_c - c < 16 ? w->in_c - c : 16;
                for (uint32_t j = 0; j < w->out_w; j += p->span) {
                    uint32_t pixels = w->out_w - j < p->span ? w->out_w - j : p->span;
                    int8_t *to = out + j * w->out_c + c;
                    make_words(p, in + c, y, (int32_t)(j * w->stride_w) - w->pad_left,
                               (pixels - 1) * w->stride_w + reach, lanes, outside, words);
                    run(p, words, 64u * w->stride_w, to, stream, lanes, pixels, aside);
                }
            }
        }
    }
}

/* The words of `count` rows from y on, each of four rows of a window from there on. */
static void make_column(const struct td_depthwise_s8_mve *p, const int8_t *image, int32_t y,
                        uint32_t count, uint32_t lanes, const int8_t *outside, int8_t *words)
{
    const struct td_window *w = &p->window;
    int32_t last = 3 * w->dilation_h;
    while (count > 0) {
        int whole = y >= 0 && y + last < w->in_h;
        uint32_t now = whole ? (uint32_t)(w->in_h - last - y) : 1;
        if (now > count)
            now = count;
        struct rows rows;
        for (int32_t n = 0; n < 4; n++) {
            int32_t at = y + n * w->dilation_h;
            rows.at[n] = at >= 0 && at < w->in_h ? image + at * w->in_c : outside;
            rows.step[n] = w->in_c;
        }
        words = spread(&rows, now, lanes, words);
        y += (int32_t)now;
        count -= now;
    }
}

void td_depthwise_column_s8_mve(const struct td_depthwise_s8_mve *p, const int8_t *in, int8_t *out,
                                void *scratch)
{
    const struct td_window *w = &p->window;
    uint32_t image_bytes = (uint32_t)w->in_h * w->in_c;
    uint32_t more = (w->k_h - 1u) / 4 * 4 * w->dilation_h;  /* rows to a window's last word */
    int8_t *outside = scratch, *words = outside + 16, *aside = words + p->layer_bytes;
    td_fill_bytes(outside, p->in_zero, 16);
    for (uint32_t b = 0; b < w->batches; b++, in += image_bytes) {
        const int32_t *stream = p->stream;
        for (uint32_t c = 0; c < w->in_c; c += 16, stream += p->stream_step) {
            uint32_t lanes = w->in_c - c < 16 ? w->in_c - c : 16;
            for (uint32_t i = 0; i < w->out_h; i += p->span) {
                uint32_t pixels = w->out_h - i < p->span ? w->out_h - i : p->span;
                make_column(p, in + c, (int32_t)(i * w->stride_h) - w->pad_top,
                            (pixels - 1) * w->stride_h + more + 1, lanes, outside, words);
                run(p, words, 64u * w->stride_h, out + i * w->out_c + c, stream, lanes, pixels,
                    aside);
            }
        }
        out += (uint32_t)w->out_h * w->out_c;
    }
}
#endif

/* DEPTHWISE_CONV_2D with the DSP extension, four channels at a time.
 *
 * The lines of the image that a line of outputs needs are turned to channel-first int16: for each
 * channel a plane [pairs of positions][lines] of words. So two neighbouring outputs read
 * neighbouring words. Lines run along rows or columns of the image, as lowering found better.
 * Where lines are kept, the plane is a ring of them, and the rows of the weights are turned to it.
 *
 * An output line is written behind all input lines that it covers, in its own channels, so that
 * out may be in where the image keeps its size. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_DSP)
#include "td_dsp.h"

/* The planes of four channels. */
struct planes {
    uint32_t *to;
    uint32_t line_step;         /* words between pairs of positions */
    uint32_t channel_step;
};

/* Two neighbouring positions of four channels, a the first. */
TD_INLINE void put_pair(uint32_t *to, uint32_t channel_step, uint32_t a, uint32_t b)
{
    uint32_t low = td_low_halves(a, b), high = td_high_halves(a, b);
    to[0] = td_even_bytes(low);
    to[channel_step] = td_odd_bytes(low);
    to[2 * channel_step] = td_even_bytes(high);
    to[3 * channel_step] = td_odd_bytes(high);
}

/* Two positions outside the image. */
TD_INLINE void put_outside(uint32_t *to, uint32_t channel_step, uint32_t zeros)
{
    to[0] = zeros;
    to[channel_step] = zeros;
    to[2 * channel_step] = zeros;
    to[3 * channel_step] = zeros;
}

/* One line: `before` positions outside the image, then `inside` ones, then outside to the end. */
static void put_line(struct planes planes, uint32_t *to, const int8_t *from, uint32_t step,
                     uint32_t before, uint32_t inside, uint32_t pairs, int zero)
{
    uint32_t zeros = (uint16_t)zero * 0x10001u, outside = (uint8_t)zero * 0x01010101u;
    uint32_t *end = to + pairs * planes.line_step;
    for (; before >= 2 && to != end; before -= 2, to += planes.line_step)
        put_outside(to, planes.channel_step, zeros);
    if (before == 1 && inside > 0) {
        put_pair(to, planes.channel_step, outside, td_load_word(from));
        from += step;
        inside--;
        to += planes.line_step;
    }
    for (; inside >= 2; inside -= 2, to += planes.line_step) {
        uint32_t first = td_load_word(from);
        from += step;
        put_pair(to, planes.channel_step, first, td_load_word(from));
        from += step;
    }
    if (inside == 1) {
        put_pair(to, planes.channel_step, td_load_word(from), outside);
        to += planes.line_step;
    }
    for (; to != end; to += planes.line_step)
        put_outside(to, planes.channel_step, zeros);
}

/* All lines of four channels. */
static void four_channels(const struct td_depthwise_s8_dsp *p, struct td_line_dsp *line,
                          const struct planes *planes, const int8_t *in, int8_t *out,
                          const int32_t *constants)
{
    uint32_t rows = line->rows, next = 0, slot = 0;
    for (uint32_t i = 0; i < p->out_lines; i++, out += p->out_line_step) {
        if (!p->keeps) {
            next = i * p->line_stride;
            slot = 0;
        }
        for (; next < i * p->line_stride + rows; next++) {
            uint32_t y = next - p->lines_before;    /* huge if negative */
            int inside = y < p->in_lines;
            put_line(*planes, planes->to + slot, in + (inside ? y * p->in_line_step : 0), p->in_step,
                     inside ? p->before : 0, inside ? p->inside : 0, p->line_pairs, p->in_zero);
            slot = slot + 1 == rows ? 0 : slot + 1;
        }
        if (p->keeps)
            for (uint32_t r = 0, s = slot; r < rows; r++, s = s + 1 == rows ? 0 : s + 1)
                line->row_offset[s] = 4 * r;
        for (uint32_t c = 0; c < 4; c++)
            p->line(constants + c * p->channel_words, planes->to + c * planes->channel_step,
                    out + c, line);
    }
}

void td_depthwise_s8_dsp(const struct td_depthwise_s8_dsp *p, const int8_t *in, int8_t *out,
                         void *scratch)
{
    struct td_line_dsp line = p->shape;
    struct planes planes = {scratch, line.rows, line.rows * p->line_pairs};
    line.weights = (int16_t *)(planes.to + 4 * planes.channel_step);
    for (uint32_t b = 0; b < p->batches; b++, in += p->in_bytes, out += p->out_bytes) {
        for (uint32_t c = 0; c < p->channels; c += 4)
            four_channels(p, &line, &planes, in + c, out + c, p->constants + c * p->channel_words);
    }
    td_clamp_bytes(out - p->batches * p->out_bytes, p->batches * p->out_bytes, p->out_min,
                   p->out_max);
}
#endif

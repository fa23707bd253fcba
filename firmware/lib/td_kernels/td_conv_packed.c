/* CONV_2D, three output pixels at a time, wherever they lie. */
#include "td_packed.h"

#include "td_bytes.h"
#include "td_window.h"

/* A window's corner. */
struct corner {
    const int8_t *image;
    int32_t y, x;
};

/* `columns` pixels of a row of the image, from x on: where they stand, or copied to `aside`, with
 * `fill` outside the image. */
static const int8_t *row_of(const struct td_window *w, const struct corner *at, int32_t y,
                            int32_t x, int32_t columns, int fill, int8_t *aside)
{
    const int8_t *row = at->image + (uint32_t)y * w->in_w * w->in_c;
    if (y < 0 || y >= w->in_h) {
        memset(aside, fill, (uint32_t)columns * w->in_c);
        return aside;
    }
    if (x >= 0 && x + columns <= w->in_w)
        return row + x * w->in_c;
    int8_t *to = aside;
    for (; columns > 0; columns--, x++, to += w->in_c) {
        if (x < 0 || x >= w->in_w)
            memset(to, fill, w->in_c);
        else
            memcpy(to, row + x * w->in_c, w->in_c);
    }
    return aside;
}

/* The windows of three corners become a column. */
static void gather(const struct td_window *w, const struct corner *at, int fill, uint32_t *column,
                   int8_t *aside)
{
    int dilated = w->dilation_w > 1;
    int32_t pieces = dilated ? w->k_w : 1;
    int32_t columns = dilated ? 1 : w->k_w;
    uint32_t bytes = (uint32_t)columns * w->in_c;
    for (int32_t i = 0; i < w->k_h; i++) {
        for (int32_t j = 0; j < pieces; j++) {
            const int8_t *from[3];
            for (uint32_t p = 0; p < 3; p++)
                from[p] = row_of(w, at + p, at[p].y + i * w->dilation_h,
                                 at[p].x + j * w->dilation_w, columns, fill, aside + p * bytes);
            column = td_packed_pack(column, from[0], from[1], from[2], bytes);
        }
    }
}

void td_conv_s8_packed(const struct td_conv_s8_packed *p, const int8_t *in, int8_t *out,
                       void *scratch)
{
    const struct td_window *w = &p->window;
    const struct td_product_packed *product = &p->product;
    uint32_t *column = scratch;
    int8_t *aside = (int8_t *)(column + 2 * product->depth);
    int8_t *start = out;
    struct corner at[3];
    uint32_t waiting = 0, left = product->rows;
    for (uint32_t b = 0; b < w->batches; b++, in += (uint32_t)w->in_h * w->in_w * w->in_c) {
        int32_t y = -(int32_t)w->pad_top;
        for (uint32_t i = 0; i < w->out_h; i++, y += w->stride_h) {
            int32_t x = -(int32_t)w->pad_left;
            for (uint32_t j = 0; j < w->out_w; j++, x += w->stride_w) {
                at[waiting++] = (struct corner){in, y, x};
                if (--left > 0 && waiting < 3)
                    continue;
                uint32_t second = waiting > 1, third = waiting > 2 ? 2 : second;
                at[1] = at[second];
                at[2] = at[third];
                gather(w, at, p->in_zero, column, aside);
                td_packed_pixels(product, column, out, out + second * w->out_c,
                                 out + third * w->out_c);
                out += waiting * w->out_c;
                waiting = 0;
            }
        }
    }
    td_packed_clamp(product->scale.out_min, product->scale.out_max, start,
                    product->rows * w->out_c);
}

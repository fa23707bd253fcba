/* td_window.h: gathering a window of an image, shared by the convolutions of every type. */
#ifndef TD_WINDOW_H
#define TD_WINDOW_H
#include <stdint.h>

#include "td_bytes.h"
#include "td_kernels.h"

/* Whether the window whose corner is (y, x) lies inside the image. */
static inline int td_window_inside(const struct td_window *w, int32_t y, int32_t x)
{
    return y >= 0 && x >= 0 && y + (w->k_h - 1) * w->dilation_h < w->in_h &&
           x + (w->k_w - 1) * w->dilation_w < w->in_w;
}

/* Copy the window at (y, x) of one image to `patch`, [k_h][k_w][pixel_bytes]; bytes outside the
 * image become `fill`. */
static inline void td_window_gather(const struct td_window *w, uint32_t pixel_bytes,
                                    const void *from_image, int32_t y, int32_t x, int fill,
                                    void *to_patch)
{
    const uint8_t *image = from_image;
    uint8_t *patch = to_patch;
    uint32_t row_bytes = w->k_w * pixel_bytes;
    int whole_rows = w->dilation_w == 1 && x >= 0 && x + w->k_w <= w->in_w;
    for (uint32_t i = 0; i < w->k_h; i++, y += w->dilation_h, patch += row_bytes) {
        if (y < 0 || y >= w->in_h) {
            memset(patch, fill, row_bytes);
            continue;
        }
        const uint8_t *row = image + (uint32_t)y * w->in_w * pixel_bytes;
        if (whole_rows) {
            memcpy(patch, row + (uint32_t)x * pixel_bytes, row_bytes);
            continue;
        }
        int32_t column = x;
        uint8_t *to = patch;
        for (uint32_t j = 0; j < w->k_w; j++, column += w->dilation_w, to += pixel_bytes) {
            if (column < 0 || column >= w->in_w)
                memset(to, fill, pixel_bytes);
            else
                memcpy(to, row + (uint32_t)column * pixel_bytes, pixel_bytes);
        }
    }
}

/* The rows and columns of a window that lie inside the image. */
struct td_area {
    uint32_t y, x, h, w;
};

/* The part of [origin, origin + size) inside [0, limit): where it begins, how long it is. */
static inline void td_clip(int32_t origin, int32_t size, int32_t limit, uint32_t *from,
                           uint32_t *length)
{
    int32_t first = origin < 0 ? 0 : origin;
    int32_t end = origin + size < limit ? origin + size : limit;
    *from = (uint32_t)first;
    *length = (uint32_t)(end - first);
}

/* The area of the window for output position (i, j). */
static inline struct td_area td_window_clipped(const struct td_window *w, uint32_t i, uint32_t j)
{
    struct td_area a;
    td_clip((int32_t)(i * w->stride_h) - w->pad_top, w->k_h, w->in_h, &a.y, &a.h);
    td_clip((int32_t)(j * w->stride_w) - w->pad_left, w->k_w, w->in_w, &a.x, &a.w);
    return a;
}

#endif

/* td_window.h: gathering a window of an image, shared by the convolutions of every type. */
#ifndef TD_WINDOW_H
#define TD_WINDOW_H
#include <stdint.h>
#include <string.h>

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
                                    const uint8_t *image, int32_t y, int32_t x, int fill,
                                    uint8_t *patch)
{
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

/* The part [from, to) of a window of `size` at `origin` that lies inside [0, limit). */
static inline void td_window_clip(int32_t origin, int32_t size, int32_t limit, int32_t *from,
                                  int32_t *to)
{
    *from = origin < 0 ? -origin : 0;
    *to = size < limit - origin ? size : limit - origin;
}

#endif

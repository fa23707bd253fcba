/* td_kernels_move.h: kernels that only move bytes, of any type; part of td_kernels.h.
 *
 * One strided copy is SLICE, STRIDED_SLICE, TRANSPOSE, PACK, UNPACK, SPLIT, BROADCAST_TO, FILL,
 * DEPTH_TO_SPACE, SPACE_TO_DEPTH; several are BATCH_TO_SPACE_ND, SPACE_TO_BATCH_ND, MIRROR_PAD. */
#ifndef TD_KERNELS_MOVE_H
#define TD_KERNELS_MOVE_H
#include <stdint.h>

enum { TD_STRIDED_DIMENSIONS = 6 };

/* For every position of the loops over `size`, `bytes` are copied. Strides in bytes: 0 repeats the
 * input, negative ones turn it round. `unit` is 1, 2 or 4 where that is `bytes` and everything is
 * aligned to it, else 0. */
struct td_strided {
    uint16_t size[TD_STRIDED_DIMENSIONS];
    int32_t in_stride[TD_STRIDED_DIMENSIONS], out_stride[TD_STRIDED_DIMENSIONS];
    uint32_t in_offset;
    uint32_t bytes;
    uint8_t unit;
};
void td_strided(const struct td_strided *p, const void *in, void *out);

/* GATHER: [batches][outer][axis][bytes] by [batches][count] indices. One outside the axis, on
 * which TFLite-Micro reads foreign memory, takes the nearest inside. */
struct td_gather {
    uint32_t batches, outer, axis, count, bytes;
};
void td_gather(const struct td_gather *p, const void *in, const int32_t *indices, void *out);

enum { TD_GATHER_DEPTH = 5, TD_PART_DIMENSIONS = 6 };

/* GATHER_ND: `count` times `depth` indices, each to a piece of `bytes`. `last` is the largest index
 * of a dimension, which takes the place of one above it, `stride` in bytes. */
struct td_gather_nd {
    uint32_t count, depth, bytes;
    uint32_t last[TD_GATHER_DEPTH], stride[TD_GATHER_DEPTH];
};
void td_gather_nd(const struct td_gather_nd *p, const void *in, const int32_t *indices, void *out);

/* A part of a tensor of `bytes`, at computed starts: `size` by dimension, the last one a run of
 * bytes; `room` is the largest start of a dimension, `stride` in bytes; the first `missing`
 * dimensions have no start. SLICE copies it out, DYNAMIC_UPDATE_SLICE into a copy of the tensor. */
struct td_part {
    uint32_t bytes, run, missing;
    uint32_t size[TD_PART_DIMENSIONS], room[TD_PART_DIMENSIONS], stride[TD_PART_DIMENSIONS];
};
void td_slice(const struct td_part *p, const void *in, const int32_t *starts, void *out);
void td_update_slice(const struct td_part *p, const void *in, const void *update,
                     const int32_t *starts, void *out);

/* RESIZE_NEAREST_NEIGHBOR: where in the input each row and each pixel of a row begins, in bytes. */
struct td_pick {
    uint16_t batches, out_h, out_w;
    uint32_t image_bytes, pixel_bytes;
    const uint32_t *rows;           /* out_h */
    const uint32_t *columns;        /* out_w */
};
void td_pick(const struct td_pick *p, const void *in, void *out);

/* Three operands read with strides, in elements; as struct td_broadcast. */
struct td_select {
    uint16_t size[4];
    uint32_t c_stride[4], a_stride[4], b_stride[4];
    uint8_t element_bytes;
};
void td_select(const struct td_select *p, const uint8_t *c, const void *a, const void *b,
               void *out);

#endif

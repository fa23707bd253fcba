"""Random layers that only move elements."""

from __future__ import annotations

from layer_kit import constant, pick, shape_of
from random_layers import Layer, LayerMaker


def slice_(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 6)
    begin = [maker.integer(0, d - 1) for d in shape]
    size = [maker.integer(1, d - b) for d, b in zip(shape, begin, strict=True)]
    written = [-1 if b + s == d and maker.rng.random() < 0.3 else s
               for d, b, s in zip(shape, begin, size, strict=True)]  # fmt: skip
    x = maker.tensor(shape)
    y = maker.tensor(tuple(size), like=x)
    if maker.rng.random() < 0.3:  # a computed begin: the place of a maximum, and zeros
        scores = maker.model.tensor((len(shape), shape[0] - size[0] + 1), "float32")
        most = maker.model.tensor((len(shape),), "int32")
        starts = maker.model.tensor((len(shape),), "int32")
        first = constant(maker, [1] + [0] * (len(shape) - 1))
        maker.model.op("ARG_MAX", [scores, constant(maker, 1)], [most], output_type=2)
        maker.model.op("MUL", [most, first], [starts])
        maker.model.op(name, [x, starts, constant(maker, size)], [y])
        return [x, scores], [y]
    maker.model.op(name, [x, constant(maker, begin), constant(maker, written)], [y])
    return [x], [y]


def strided_slice(maker: LayerMaker, name: str) -> Layer:
    while True:
        shape = maker.shape(maker.integer(1, 4), 6)
        begin = [maker.integer(-d, d - 1) for d in shape]
        end = [maker.integer(-d - 1, d + 1) for d in shape]
        step = [pick(maker, 1, 1, 2, 3, -1, -2) for _ in shape]
        masks = [maker.integer(0, 15) for _ in range(2)]
        shrink = maker.integer(0, 15) if maker.rng.random() < 0.3 else 0
        out = []
        for i, d in enumerate(shape):
            if shrink >> i & 1:
                step[i] = 1
                masks[0] &= ~(1 << i)
                masks[1] &= ~(1 << i)
                continue
            first = None if masks[0] >> i & 1 else begin[i]
            last = None if masks[1] >> i & 1 else end[i]
            out.append(len(range(d)[slice(first, last, step[i])]))
        if all(out):
            break
    x = maker.tensor(shape)
    y = maker.tensor(tuple(out), like=x)
    inputs = [x, *(constant(maker, v) for v in (begin, end, step))]
    options = {"begin_mask": masks[0], "end_mask": masks[1], "shrink_axis_mask": shrink}
    maker.model.op(name, inputs, [y], **options)
    return [x], [y]


def split(maker: LayerMaker, name: str) -> Layer:
    shape = list(maker.shape(maker.integer(1, 4), 5))
    axis = maker.integer(0, len(shape) - 1)
    count = maker.integer(1, 4)
    sizes = [maker.integer(1, 3)] * count
    if name == "SPLIT_V":
        sizes = [maker.integer(1, 3) for _ in range(count)]
    shape[axis] = sum(sizes)
    x = maker.tensor(tuple(shape))
    outputs = [maker.tensor((*shape[:axis], n, *shape[axis + 1 :]), like=x) for n in sizes]
    written = axis - len(shape) if maker.rng.random() < 0.3 else axis
    if name == "SPLIT":
        maker.model.op(name, [constant(maker, written), x], outputs, num_splits=count)
    else:
        inputs = [x, constant(maker, sizes), constant(maker, written)]
        maker.model.op(name, inputs, outputs, num_splits=count)
    return [x], outputs


def pack(maker: LayerMaker, name: str) -> Layer:
    part = maker.shape(maker.integer(1, 3), 5)
    axis, count = maker.integer(0, len(part)), maker.integer(1, 4)
    whole = (*part[:axis], count, *part[axis:])
    written = axis - len(whole) if maker.rng.random() < 0.3 else axis
    x = maker.tensor(part if name == "PACK" else whole)
    if name == "PACK":
        inputs = [x, *(maker.tensor(part, like=x) for _ in range(count - 1))]
        outputs = [maker.tensor(whole, like=x)]
        maker.model.op(name, inputs, outputs, values_count=count, axis=written)
        return inputs, outputs
    outputs = [maker.tensor(part, like=x) for _ in range(count)]
    maker.model.op(name, [x], outputs, num=count, axis=written)
    return [x], outputs


def transpose(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(2, 5), 5)
    order = maker.rng.permutation(len(shape))
    x = maker.tensor(shape)
    y = maker.tensor(tuple(shape[i] for i in order), like=x)
    maker.model.op(name, [x, constant(maker, order)], [y])
    return [x], [y]


def broadcast_to(maker: LayerMaker, name: str) -> Layer:
    out = maker.shape(maker.integer(1, 4), 4)
    given = tuple(1 if maker.rng.random() < 0.5 else d for d in out)[maker.integer(0, 1) :]
    x = maker.tensor(given or (1,))
    y = maker.tensor(out, like=x)
    maker.model.op(name, [x, constant(maker, out)], [y])
    return [x], [y]


def fill(maker: LayerMaker, name: str) -> Layer:
    out = maker.shape(maker.integer(1, 4), 4)
    x = maker.tensor(())
    y = maker.tensor(out, like=x)
    maker.model.op(name, [constant(maker, out), x], [y])
    return [x], [y]


def expand_dims(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(3, 5)
    axis = maker.integer(0, 3)
    x = maker.tensor(shape)
    y = maker.tensor((*shape[:axis], 1, *shape[axis:]), like=x)
    maker.model.op(name, [x, constant(maker, [axis])], [y])
    return [x], [y]


def shape(maker: LayerMaker, name: str) -> Layer:
    x = maker.tensor(maker.shape(3, 5))
    y = maker.model.tensor((3,), "int32")
    z = maker.tensor(shape_of(maker, x), like=x)
    maker.model.op(name, [x], [y], out_type=2)
    maker.model.op("RESHAPE", [x, constant(maker, shape_of(maker, x))], [z])
    return [x], [y, z]


def depth_space(maker: LayerMaker, name: str) -> Layer:
    (b, h, w), c, block = maker.shape(3, 3), maker.integer(1, 4), maker.integer(1, 3)
    deep, wide = (b, h, w, c * block * block), (b, h * block, w * block, c)
    given, out = (deep, wide) if name == "DEPTH_TO_SPACE" else (wide, deep)
    x = maker.tensor(given)
    y = maker.tensor(out, like=x)
    maker.model.op(name, [x], [y], block_size=block)
    return [x], [y]


def batch_space(maker: LayerMaker, name: str) -> Layer:
    while True:
        batch, c = maker.integer(1, 2), maker.integer(1, 4)
        block = [maker.integer(1, 3) for _ in range(2)]
        h, w = (b * maker.integer(1, 4) for b in block)
        # TFLite-Micro pads with whatever its uninitialized parameters hold.
        edges = maker.rng.integers(0, 3 if name == "BATCH_TO_SPACE_ND" else 1, (2, 2))
        inner = (h - edges[0].sum(), w - edges[1].sum())
        if min(inner) >= 1:
            break
    many = (batch * block[0] * block[1], h // block[0], w // block[1], c)
    wide = (batch, int(inner[0]), int(inner[1]), c)
    given, out = (many, wide) if name == "BATCH_TO_SPACE_ND" else (wide, many)
    x = maker.tensor(given)
    y = maker.tensor(out, like=x)
    maker.model.op(name, [x, constant(maker, block), constant(maker, edges)], [y])
    return [x], [y]


def mirror_pad(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    mode = maker.integer(0, 1)
    paddings = [[maker.integer(0, min(2, d - 1 + mode)) for _ in range(2)] for d in shape]
    x = maker.tensor(shape)
    y = maker.tensor(tuple(d + sum(p) for d, p in zip(shape, paddings, strict=True)), like=x)
    maker.model.op(name, [x, constant(maker, paddings)], [y], mode=mode)
    return [x], [y]


def gather(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    axis = maker.integer(0, len(shape) - 1)
    batch = maker.integer(0, axis) if maker.rng.random() < 0.3 else 0
    where = (*shape[:batch], *maker.shape(maker.integer(1, 2), 4))
    indices = constant(maker, maker.rng.integers(0, shape[axis], where))
    x = maker.tensor(shape)
    y = maker.tensor((*shape[:axis], *where[batch:], *shape[axis + 1 :]), like=x)
    maker.model.op(name, [x, indices], [y], axis=axis, batch_dims=batch)
    return [x], [y]


def reverse(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    x = maker.tensor(shape)
    y = maker.tensor(shape, like=x)
    maker.model.op(name, [x, constant(maker, [maker.integer(0, len(shape) - 1)])], [y])
    return [x], [y]


def resize(maker: LayerMaker, name: str) -> Layer:
    (h, w), c = maker.shape(2, 6), maker.integer(1, 4)
    size = [maker.integer(1, 12) for _ in range(2)]
    x = maker.tensor((maker.integer(1, 2), h, w, c))
    y = maker.tensor((shape_of(maker, x)[0], *size, c), like=x)
    corners = bool(maker.rng.random() < 0.4)
    centers = not corners and bool(maker.rng.random() < 0.5)
    options = {"align_corners": corners, "half_pixel_centers": centers}
    maker.model.op(name, [x, constant(maker, size)], [y], **options)
    return [x], [y]

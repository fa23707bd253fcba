"""Windows that slide over images: geometry shared by convolutions and pooling."""

from __future__ import annotations

from tinydeploy.compiler.lower.context import Context, Refused, u16
from tinydeploy.graph import Op


def window(
    op: Op, ctx: Context, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> dict[str, int]:
    """Initializer of struct td_window for an op with NHWC input and output.

    SAME pads half of what is missing before the image, rounded down. Refuses shapes that do not
    fit together.
    """
    in_shape, out_shape = ctx.input(op, 0).shape, ctx.tensor(op.outputs[0]).shape
    if len(in_shape) != 4 or len(out_shape) != 4 or in_shape[0] != out_shape[0]:
        raise Refused(f"its shapes {list(in_shape)} -> {list(out_shape)} are not NHWC images")
    strides = (op.options["stride_h"], op.options["stride_w"])
    pads = []
    for axis in range(2):
        size, k, stride = in_shape[1 + axis], kernel[axis], strides[axis]
        if stride < 1 or k < 1 or dilation[axis] < 1:
            raise Refused("a stride, a dilation or its window is 0")
        reach = (k - 1) * dilation[axis] + 1
        same = op.options["padding"] == "SAME"
        out = -(-size // stride) if same else (size + stride - reach) // stride
        if out < 1 or out != out_shape[1 + axis]:
            raise Refused(f"its output is {out_shape[1 + axis]} long where {out} is expected")
        pads.append(max((out - 1) * stride + reach - size, 0) // 2 if same else 0)
    return u16(
        batches=in_shape[0],
        in_h=in_shape[1],
        in_w=in_shape[2],
        in_c=in_shape[3],
        out_h=out_shape[1],
        out_w=out_shape[2],
        out_c=out_shape[3],
        k_h=kernel[0],
        k_w=kernel[1],
        stride_h=strides[0],
        stride_w=strides[1],
        dilation_h=dilation[0],
        dilation_w=dilation[1],
        pad_top=pads[0],
        pad_left=pads[1],
    )


def reaches_outside(w: dict[str, int]) -> bool:
    """Whether any position of the window reaches over the image's border."""
    return any(
        w[pad] > 0 or (w[out] - 1) * w[stride] - w[pad] + (w[k] - 1) * w[dilation] >= w[size]
        for pad, out, stride, k, dilation, size in (
            ("pad_top", "out_h", "stride_h", "k_h", "dilation_h", "in_h"),
            ("pad_left", "out_w", "stride_w", "k_w", "dilation_w", "in_w"),
        )
    )

"""State between invokes: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE and SVDF."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinydeploy.compiler.lower.context import (
    LIMITS,
    Context,
    Refused,
    activation_limits,
    factor,
    scale_of,
    u16,
    zero_of,
)
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor
from tinydeploy.graph_stats import DTYPE_BITS


def lower_var_handle(op: Op, ctx: Context) -> list[Call]:
    """VAR_HANDLE only names a variable; those who read and assign it look the name up."""
    return []


def lower_read_variable(op: Op, ctx: Context) -> list[Call]:
    """READ_VARIABLE: a copy, since the variable may be assigned before the value is used."""
    output = ctx.tensor(op.outputs[0])
    return [copy(op, _variable(op, ctx, output), output.index, _bytes(output))]


def lower_assign_variable(op: Op, ctx: Context) -> list[Call]:
    """ASSIGN_VARIABLE."""
    value = ctx.input(op, 1)
    return [copy(op, ctx.operand(value.index), _variable(op, ctx, value), _bytes(value))]


def copy(op: Op, source: int | Data, to: int, size: int) -> Call:
    """A call that copies `size` bytes."""
    return Call(
        kernel="td_copy",
        struct="td_copy",
        params={"rows": 1, "bytes": size, "in_stride": 0, "out_stride": 0},
        operands=(source,),
        output=to,
        op_index=op.index,
        comment=f"{size} bytes",
    )


def _variable(op: Op, ctx: Context, value: Tensor) -> int:
    """The memory of the variable whose handle is the op's first input."""
    name = _name(ctx, op.inputs[0])
    assigned = [
        ctx.input(other, 1)
        for other in ctx.graph.ops
        if other.name == "ASSIGN_VARIABLE" and _name(ctx, other.inputs[0]) == name
    ]
    if not assigned:
        raise Refused(f"variable {name!r} is never assigned")
    if assigned[0].dtype != value.dtype:
        raise Refused(f"variable {name!r} holds {assigned[0].dtype}, not {value.dtype}")
    return ctx.memory.variable(name, assigned[0], _bytes(value))


def _name(ctx: Context, handle: int) -> str:
    while handle in ctx.aliases:  # a body's view of it
        handle = ctx.aliases[handle]
    for op in ctx.graph.ops:
        if op.name == "VAR_HANDLE" and handle in op.outputs:
            return f"{op.options.get('container') or ''}/{op.options.get('shared_name') or ''}"
    raise Refused("its variable's handle does not come from a VAR_HANDLE")


def _bytes(tensor: Tensor) -> int:
    return tensor.elements * DTYPE_BITS[tensor.dtype] // 8


def state_of(op: Op, ctx: Context, position: int, dtype: str, elements: int) -> Tensor:
    """A variable tensor among the inputs, registered as state; refuses another type or size."""
    tensor = ctx.input(op, position)
    if not tensor.is_variable or tensor.data is not None:
        raise Refused(f"its input {position} is not a variable")
    if tensor.dtype != dtype or tensor.elements != elements:
        raise Refused(f"its state is {tensor.dtype} {list(tensor.shape)}")
    ctx.memory.state(tensor)
    return tensor


def lower_svdf(op: Op, ctx: Context) -> list[Call]:
    """SVDF, with a state of int8 or int16 for int8 activations."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    feature = ctx.constant_input(op, 1, "feature weights")
    time = ctx.constant_input(op, 2, "time weights")
    rank = int(op.options["rank"])
    if len(given.shape) != 2 or feature.ndim != 2 or time.ndim != 2 or rank < 1:
        raise Refused("its input and weights are not matrices")
    (batches, inputs), (filters, memory) = given.shape, time.shape
    units = filters // rank
    if feature.shape != (filters, inputs) or output.shape != (batches, units) or filters % rank:
        raise Refused("its weights do not fit its input and output")
    sizes = u16(batches=batches, inputs=inputs, units=units, rank=rank, memory=memory)
    state_type = "float32" if dtype == "float32" else ctx.input(op, 2).dtype
    state = state_of(op, ctx, 4, state_type, batches * filters * memory)
    params: dict[str, Any] = {**sizes, "feature": Data("weights", feature)}
    bias = _svdf_bias(op, ctx, units)
    if dtype == "float32":
        low, high = activation_limits(op.options["fused_activation_function"])
        params |= {"time": Data("weights", time), "bias": Data("weights", bias)}
        params |= {"out_min": low, "out_max": high}
        return [_svdf(op, "td_svdf_f32", "td_svdf_f32", params, given, state)]
    if dtype != "int8" or state_type not in LIMITS or feature.dtype != np.int8:
        raise Refused(f"{dtype} activations with {state_type} time weights are not supported")
    weights, times = ctx.input(op, 1), ctx.input(op, 2)
    zero = zero_of(given)
    to_state = factor(scale_of(given) * scale_of(weights) / scale_of(state))
    to_output = factor(scale_of(state) * scale_of(times) / scale_of(output))
    _svdf_fits(feature, time, bias)
    params |= {
        "feature_bias": Data("tables", (-zero * feature.astype(np.int64).sum(1)).astype(np.int32)),
        "time": Data("weights", time),
        "bias": Data("weights", bias),
        "feature_multiplier": to_state.multiplier,
        "multiplier": to_output.multiplier,
        "feature_down": to_state.down,
        "down": to_output.down,
        "state_zero": state.zero_points[0],
        "out_zero": zero_of(output),
    }
    kernel = "td_svdf_s8" if state_type == "int8" else "td_svdf_s8_s16"
    return [_svdf(op, kernel, "td_svdf_int", params, given, state)]


def _svdf_bias(op: Op, ctx: Context, units: int) -> np.ndarray:
    wanted = np.dtype(np.float32 if ctx.input(op, 0).dtype == "float32" else np.int32)
    if op.inputs[3] < 0:
        return np.zeros(units, wanted)
    bias = ctx.constant_input(op, 3, "biases").reshape(-1)
    if bias.size != units or bias.dtype != wanted:
        raise Refused(f"its biases are {bias.size} x {bias.dtype}, not {units} x {wanted}")
    return bias


def _svdf_fits(feature: np.ndarray, time: np.ndarray, bias: np.ndarray) -> None:
    """Refuses weights whose sums can exceed 32 bits."""
    values = 2 * -LIMITS[time.dtype.name][0]
    ranked = np.abs(time.astype(np.int64)).reshape(bias.size, -1).sum(1) * values
    largest = np.abs(bias.astype(np.int64)) + ranked
    products = 256 * np.abs(feature.astype(np.int64)).sum(1)
    if max(largest.max(), products.max()) >= 2**31:
        raise Refused("its sums can exceed 32 bits")


def _svdf(
    op: Op, kernel: str, struct: str, params: dict[str, Any], given: Tensor, state: Tensor
) -> Call:
    return Call(
        kernel=kernel,
        struct=struct,
        params=params,
        operands=(given.index, state.index),
        output=op.outputs[0],
        op_index=op.index,
        comment=f"{params['inputs']} -> {params['units']}, {params['memory']} steps",
    )

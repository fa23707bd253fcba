"""UNIDIRECTIONAL_SEQUENCE_LSTM, as far as TFLite-Micro has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinydeploy.compiler.fixedpoint import Factor, round_half_away
from tinydeploy.compiler.lower.context import (
    SUFFIX,
    Context,
    Refused,
    factor,
    scale_of,
    u16,
    zero_of,
)
from tinydeploy.compiler.lower.state import state_of
from tinydeploy.compiler.lower.tables import logistic_table_s16
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor

# Positions among the 24 inputs: weights, recurrent weights, bias of each gate.
_GATES = {"input": (1, 5, 12), "forget": (2, 6, 13), "candidate": (3, 7, 14), "output": (4, 8, 15)}
_HIDDEN, _CELL = 18, 19
_UNUSED = (9, 10, 11, 16, 17, 20, 21, 22, 23)
_GATE_SCALE = 2.0**-12  # of what goes into sigmoid and tanh
_UNIT_SCALE = 2.0**-15  # of what comes out


def lower_lstm(op: Op, ctx: Context) -> list[Call]:
    """Int8 and int16 with a cell of int16, or float32; state lives in two variable tensors."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if len(op.inputs) != 24 or any(op.inputs[i] >= 0 for i in _UNUSED):
        raise Refused("it has peepholes, a projection or normalization, or a gate is missing")
    if op.options["fused_activation_function"] != "TANH":
        raise Refused(f"its activation is {op.options['fused_activation_function']}, not TANH")
    if len(given.shape) != 3 or len(output.shape) != 3 or given.shape[:2] != output.shape[:2]:
        raise Refused(f"its shapes {list(given.shape)} -> {list(output.shape)} are no sequences")
    by_time = bool(op.options["time_major"])
    batches, times = given.shape[:2][::-1] if by_time else given.shape[:2]
    units = output.shape[2]
    sizes = u16(batches=batches, times=times, inputs=given.shape[2], units=units)
    sizes |= u16(batch_step=1 if by_time else times, time_step=batches if by_time else 1)
    cell_type = "float32" if dtype == "float32" else "int16"
    hidden = state_of(op, ctx, _HIDDEN, dtype, batches * units)
    cell = state_of(op, ctx, _CELL, cell_type, batches * units)
    clip = float(op.options.get("cell_clip") or 0.0)
    if not 0 <= clip < math.inf:
        raise Refused(f"its cell is clipped to {clip}")
    gates = {name: _gate(op, ctx, name, dtype, units) for name in _GATES}
    params: dict[str, Any] = {"shape": sizes, **gates}
    params |= {"clip": clip} if dtype == "float32" else {"cell": _cell(cell, hidden, clip)}
    name = f"td_lstm_{SUFFIX[dtype]}"
    return [
        Call(
            kernel=name,
            struct=name,
            params=params,
            operands=(ctx.activation(op), hidden.index, cell.index),
            output=output.index,
            op_index=op.index,
            comment=f"{times} x {given.shape[2]} -> {units}",
            takes_scratch=True,
            scratch_bytes=units * np.dtype(dtype).itemsize,
        )
    ]


def _gate(op: Op, ctx: Context, name: str, dtype: str, units: int) -> dict[str, Any]:
    """Initializer of struct td_lstm_gate_*."""
    at, recurrent_at, bias_at = _GATES[name]
    weights = ctx.constant_input(op, at, f"{name} weights")
    recurrent = ctx.constant_input(op, recurrent_at, f"{name} recurrent weights")
    bias = ctx.constant_input(op, bias_at, f"{name} biases").reshape(-1)
    inputs = ctx.input(op, 0).shape[2]
    if weights.shape != (units, inputs) or recurrent.shape != (units, units) or bias.size != units:
        raise Refused(f"its {name} weights do not fit its input and output")
    expected = {"float32": ("float32", "float32"), "int8": ("int8", "int32")}
    kinds = expected.get(dtype, ("int8", "int64"))
    if (weights.dtype.name, bias.dtype.name) != kinds or recurrent.dtype != weights.dtype:
        raise Refused(f"its {name} weights and biases are not {kinds[0]} and {kinds[1]}")
    gate: dict[str, Any] = {
        "weights": Data("weights", weights),
        "recurrent_weights": Data("weights", recurrent),
    }
    if dtype == "float32":
        return {**gate, "bias": Data("weights", bias)}
    scaled = _gate_factor(ctx.input(op, 0), ctx.input(op, at))
    recurrent_scaled = _gate_factor(ctx.input(op, _HIDDEN), ctx.input(op, recurrent_at))
    if dtype == "int16":
        return {**gate, "bias": Data("weights", bias), **_short(scaled, recurrent_scaled)}
    zero, hidden_zero = zero_of(ctx.input(op, 0)), zero_of(ctx.input(op, _HIDDEN))
    return {
        **gate,
        "bias": _corrected(bias, weights, zero),
        "recurrent_bias": _corrected(np.zeros(units, np.int64), recurrent, hidden_zero),
        "multiplier": scaled.multiplier,
        "recurrent_multiplier": recurrent_scaled.multiplier,
        "down": scaled.down,
        "recurrent_down": recurrent_scaled.down,
    }


def _gate_factor(given: Tensor, weights: Tensor) -> Factor:
    """Factor of a product to Q3.12; scales are multiplied in single precision, as the reference."""
    zero_of(given)
    if len(weights.scales) != 1 or any(weights.zero_points):
        raise Refused("its weights are not quantized per tensor with zero point 0")
    product = np.float32(scale_of(given)) * np.float32(weights.scales[0])
    return factor(float(product) / _GATE_SCALE)


def _corrected(bias: np.ndarray, weights: np.ndarray, zero: int) -> Data:
    """bias - zero * sum of weights; refuses sums beyond 32 bits."""
    wide = weights.astype(np.int64)
    corrected = bias.astype(np.int64) - zero * wide.sum(axis=1)
    if (np.abs(corrected) + 128 * np.abs(wide).sum(axis=1)).max() >= 2**31:
        raise Refused("its sums can exceed 32 bits")
    return Data("tables", corrected.astype(np.int32))


def _short(scaled: Factor, recurrent: Factor) -> dict[str, int]:
    """Factors rounded to 16 bits, as the reference does for 64-bit sums."""
    if max(scaled.shift, recurrent.shift) > 7:
        raise Refused("its factors are too large for int16")

    def short(f: Factor) -> int:
        return (f.multiplier + (1 << 15)) >> 16 if f.multiplier < 0x7FFF0000 else 0x7FFF

    return {
        "multiplier": short(scaled),
        "recurrent_multiplier": short(recurrent),
        "right": 15 - scaled.shift,
        "recurrent_right": 15 - recurrent.shift,
    }


def _cell(cell: Tensor, hidden: Tensor, clip: float) -> dict[str, Any]:
    """Initializer of struct td_lstm_cell."""
    zero_of(cell)
    scale = scale_of(cell)
    forget = factor(_UNIT_SCALE * scale / scale)
    added = factor(_UNIT_SCALE * _UNIT_SCALE / scale)
    out = factor(_UNIT_SCALE * _UNIT_SCALE / scale_of(hidden))
    shift = 12 + round_half_away(math.log2(scale))
    if not -30 <= shift <= 14:
        raise Refused(f"its cell's scale {scale:g} is out of range")
    table = Data("tables", logistic_table_s16())
    multiplier, right = (3 << shift, 0) if shift >= 0 else (3, -shift)
    return {
        "forget_multiplier": forget.multiplier,
        "input_multiplier": added.multiplier,
        "out_multiplier": out.multiplier,
        "forget_down": forget.down,
        "input_down": added.down,
        "out_down": out.down,
        "clip": int(min(clip / scale, 32767.0)),
        "out_zero": zero_of(hidden),
        "gate": {"elements": 1, "multiplier": 3, "shift": 0, "table": table},
        "tanh": {"elements": 1, "multiplier": multiplier, "shift": right, "table": table},
    }

"""The `tflm` engine: everything an application needs to run a model with TFLite-Micro.

The library itself is not part of the bundle: it comes from PlatformIO's registry, a vendor's SDK
or a local folder. What is here works with any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinydeploy import plugins
from tinydeploy.compiler import tflm_sources
from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph import Graph, Op
from tinydeploy.results import result_directory
from tinydeploy.tflite import read_graph
from tinydeploy.types import Compiled, DeviceProfile

ARENA_ALIGNMENT_BYTES = 16

_BUILTINS = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND
BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTH_TO_SPACE
DEPTHWISE_CONV_2D DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS
FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH
IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOG_SOFTMAX LOGICAL_AND LOGICAL_NOT
LOGICAL_OR LOGISTIC MAX_POOL_2D MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2
PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF
TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""

# Where the method's name is not the operator's in camel case.
_IRREGULAR = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}

_CUSTOM = {
    "CIRCULAR_BUFFER": "AddCircularBuffer",
    "SignalDelay": "AddDelay",
    "SignalEnergy": "AddEnergy",
    "SignalFftAutoScale": "AddFftAutoScale",
    "SignalFilterBank": "AddFilterBank",
    "SignalFilterBankLog": "AddFilterBankLog",
    "SignalFilterBankSpectralSubtraction": "AddFilterBankSpectralSubtraction",
    "SignalFilterBankSquareRoot": "AddFilterBankSquareRoot",
    "SignalFramer": "AddFramer",
    "SignalIrfft": "AddIrfft",
    "SignalOverlapAdd": "AddOverlapAdd",
    "SignalPCAN": "AddPCAN",
    "SignalRfft": "AddRfft",
    "SignalStacker": "AddStacker",
    "SignalWindow": "AddWindow",
    "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
}


def _method(builtin: str) -> str:
    if irregular := _IRREGULAR.get(builtin):
        return "Add" + irregular
    return "Add" + "".join(p if p == "2D" else p.capitalize() for p in builtin.split("_"))


RESOLVER_METHODS: Mapping[str, str] = {name: _method(name) for name in _BUILTINS.split()} | _CUSTOM
"""Operator or custom code -> method of TFLite-Micro's MicroMutableOpResolver that adds it."""


# Operators with a kernel for int8 alone, which leaves the code of all other types out, and the
# header below tensorflow/lite/micro/kernels that declares it. Reference kernels fall back there.
_INT8_KERNELS = {
    "ADD": "add.h",
    "AVERAGE_POOL_2D": "pooling.h",
    "CONV_2D": "conv.h",
    "DEPTHWISE_CONV_2D": "depthwise_conv.h",
    "FULLY_CONNECTED": "fully_connected.h",
    "MAX_POOL_2D": "pooling.h",
    "MUL": "mul.h",
    "SOFTMAX": "softmax.h",
    "SVDF": "svdf.h",
}


def bundle(
    model: Path,
    out: Path,
    device: DeviceProfile | None = None,
    *,
    profile: bool = False,
    arena: Callable[[Path], Mapping[str, Any]] | None = None,
) -> Compiled:
    """Write a TFLite-Micro bundle of `model` to `out`, whole or not at all.

    `arena` measures a model's arena: a mapping with `sufficient` (bytes in which the model
    allocates) and `origin`; by default the installed interpreter `tflm` does, which also proves
    that the model allocates and runs there. `arena_bytes` of the result is that figure rounded up
    to 16, so it is TFLite-Micro's, not a plan of ours.

    Raises UnsupportedModelError naming the layers that TFLite-Micro lacks or computes wrongly, or
    with its own message when it refuses the model.
    """
    try:
        content = model.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {model}: {error.strerror}", hint="give a .tflite file"
        ) from error
    graph = read_graph(content)
    require_supported(graph)
    measured = (arena or _measure_arena)(model)
    arena_bytes = -(-int(measured["sufficient"]) // ARENA_ALIGNMENT_BYTES) * ARENA_ALIGNMENT_BYTES
    sources = tflm_sources.sources(
        graph,
        content,
        methods=sorted({RESOLVER_METHODS[op.name] for op in graph.ops}),
        int8_kernels=_int8_kernels(graph),
        arena_bytes=arena_bytes,
        arena_origin=str(measured["origin"]),
        model_name=model.name,
        board="" if device is None else device.name,
    )
    with result_directory(out) as folder:
        (folder / "model.tflite").write_bytes(content)
        for name, text in sources.items():
            (folder / name).write_text(text)
    return Compiled(
        directory=out,
        files=("model.tflite", *sorted(sources)),
        model_sha256=graph.sha256,
        engine="tflm",
        optimize="balanced",
        arena_bytes=arena_bytes,
        profiled_layers=len(graph.ops) if profile else 0,
    )


def require_supported(graph: Graph) -> None:
    """Raise UnsupportedModelError if TFLite-Micro lacks an operator or computes it wrongly."""
    if graph.bodies:
        raise UnsupportedModelError(
            f"the model holds {len(graph.bodies) + 1} subgraphs (control flow), a bundle holds one",
            hint="export the model without loops, conditions and initializers",
        )
    problems = [text for op in graph.ops if (text := _problem(op, graph))]
    if problems:
        raise UnsupportedModelError(
            f"TFLite-Micro cannot run {len(problems)} of {len(graph.ops)} layers: "
            + "; ".join(problems),
            hint="replace these layers, or quantize with a full-integer recipe",
        )


def _int8_kernels(graph: Graph) -> dict[str, tuple[str, str]]:
    """Resolver method -> header and registration, where all layers of an operator are int8."""
    found = {}
    for name in sorted({op.name for op in graph.ops} & _INT8_KERNELS.keys()):
        tensors = [t for op in graph.ops if op.name == name for t in (*op.inputs[:2], *op.outputs)]
        if all(t < 0 or graph.tensors[t].dtype == "int8" for t in tensors):
            found[RESOLVER_METHODS[name]] = (_INT8_KERNELS[name], f"Register_{name}_INT8")
    return found


def _problem(op: Op, graph: Graph) -> str:
    named = op.outputs or op.inputs
    name = graph.tensors[named[0]].name if named else ""
    layer = f"layer {op.index}, {op.name} ({name!r})"
    if op.name not in RESOLVER_METHODS:
        return f"{layer}: its op resolver has no such operator"
    if op.name in ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"):
        return f"{layer}: the bundle gives it no room for variables"
    if op.name == "DEQUANTIZE" and graph.tensors[op.inputs[0]].data is not None:
        return f"{layer}: it ignores the per-channel scales of weight-only quantization"
    return ""


def _measure_arena(model: Path) -> Mapping[str, Any]:
    interpreter = plugins.load("interpreter", "tflm")(model)
    try:
        found: Mapping[str, Any] = interpreter.arena()
    finally:
        interpreter.close()
    return found

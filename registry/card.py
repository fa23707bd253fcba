"""The model card of a variant: Markdown for people, in its folder and in the MLflow UI."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from tinydeploy import graph_stats
from tinydeploy.compression import Agreement
from tinydeploy.graph import Graph, Tensor
from tinydeploy.types import Artifact, Evaluation

_MAX_LABELS = 20
_ESCAPED = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|!"} | {"\n": " ", "\r": " "})


def variant_card(
    artifact: Artifact, graph: Graph, evaluation: Evaluation | None, lineage: Mapping[str, Any]
) -> str:
    """What the model is, how good it is, what it takes and gives, and where it comes from.

    The same arguments give the same bytes. What boards need for it stands in their own runs.
    """
    name = plain(f"{artifact.source_name}-{artifact.recipe}" if artifact.recipe else "model")
    parts = [
        f"# {name}",
        "",
        f"A model for microcontrollers ({artifact.task}), {artifact.size_bytes:,} B as .tflite"
        + (
            f": {plain(artifact.source_name)} by recipe {plain(artifact.recipe)}."
            if artifact.recipe
            else "."
        ),
        "",
        "## Figures",
        "",
        *_table(("figure", "value", "origin"), _figures(artifact, graph, evaluation)),
        "",
        "## Inputs and outputs",
        "",
        *_table(("tensor", "name", "dtype", "shape", "quantization"), _tensors(graph)),
        "",
        *_raw_input(artifact),
        *_compression(artifact),
        "## Use",
        "",
        "`tinydeploy.mlflow.load_model(URI).predict(x)` takes raw data or the model's own dtype; "
        "`mlflow.pyfunc.load_model(URI).predict(x)` takes the model's own dtype. Both compute "
        "what a board computes, bit by bit.",
        "",
        "## Provenance",
        "",
        *_table(("what", "value"), _provenance(lineage)),
        "",
    ]
    return "\n".join(parts)


def plain(text: str) -> str:
    """Text of a model or a file name, without any meaning in Markdown or HTML."""
    return "".join(c for c in text.translate(_ESCAPED) if c.isprintable())


def _figures(
    artifact: Artifact, graph: Graph, evaluation: Evaluation | None
) -> list[tuple[str, str, str]]:
    rows = []
    if evaluation:
        values = {**evaluation.metrics, evaluation.metric: evaluation.value}
        where = f"{evaluation.samples:,} samples ({plain(evaluation.split or 'data')})"
        rows += [
            (plain(k), f"{v:.4f}", f"host ({plain(evaluation.engine)}), {where}")
            for k, v in sorted(values.items())
        ]
    rows += [
        ("model", f"{artifact.size_bytes:,} B", "file"),
        ("weights", f"{graph_stats.weight_bytes(graph):,} B", "graph"),
        ("parameters", f"{graph_stats.parameters(graph):,}", "graph"),
        ("MACs an inference", f"{graph_stats.total_macs(graph):,}", "graph"),
    ]
    if artifact.threshold is not None:
        rows.append(("threshold", repr(artifact.threshold), "artifact"))
    return rows


def _tensors(graph: Graph) -> list[tuple[str, ...]]:
    groups = (("input", graph.inputs), ("output", graph.outputs))
    return [
        (kind, plain(t.name), t.dtype, "x".join(map(str, t.shape)), _quantization(t))
        for kind, indices in groups
        for t in (graph.tensors[i] for i in indices)
    ]


def _quantization(tensor: Tensor) -> str:
    if not tensor.scales:
        return "none"
    return f"(q - {tensor.zero_points[0]}) x {tensor.scales[0]:.9g}"


def _raw_input(artifact: Artifact) -> list[str]:
    lines = []
    if artifact.input:
        d = artifact.input
        resize = f", resized to {d.resize[0]} x {d.resize[1]}" if d.resize else ""
        lines += [
            f"Raw data is {plain(d.dtype)}{resize}; the float input is "
            f"raw x {d.scale:.9g} - {d.mean:.9g}.",
            "",
        ]
    if artifact.labels:
        shown = ", ".join(plain(label) for label in artifact.labels[:_MAX_LABELS])
        more = len(artifact.labels) - _MAX_LABELS
        lines += [f"Classes: {shown}{f', and {more} more' if more > 0 else ''}.", ""]
    return lines


def _compression(artifact: Artifact) -> list[str]:
    """Calibration, and the precision of each layer where the recipe chose it by measurement."""
    lines = []
    if artifact.calibration:
        used, available = artifact.calibration.samples, artifact.calibration.available
        lines += [f"Activations are calibrated on {used:,} of {available:,} samples.", ""]
    if artifact.mix:
        mix = artifact.mix
        rows: list[Any] = [
            (
                str(m.layer),
                plain(m.op),
                plain(m.name),
                m.weights,
                f"{m.saved_bytes:,}",
                *_far(m.alone),
            )
            for m in mix.layers
        ]
        rows += [
            ("all", "", "int8", "", "", *_far(mix.int8)),
            ("all", "", "this mix", "", f"{mix.int8_weight_bytes - mix.weight_bytes:,}",
             *_far(mix.reached)),
        ]  # fmt: skip
        lines += [
            "## Layers",
            "",
            "Weights of the layers that may be int4, and how far each alone in int4 takes the "
            f"model from its float original over {mix.samples:,} calibration samples.",
            "",
            *_table(
                ("layer", "kind", "name", "weights", "saves B", "classes changed", "error"), rows
            ),
            "",
        ]
    return lines


def _far(found: Agreement) -> tuple[str, str]:
    changed = "-" if found.changed is None else f"{100 * found.changed:.2f} %"
    return changed, f"{100 * found.error:.2f} %"


def _provenance(lineage: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in sorted(lineage.items()):
        if isinstance(value, Mapping):
            rows += _provenance(value, f"{prefix}{key} ")
        elif value not in ("", None):
            rows.append((plain(f"{prefix}{key}"), plain(str(value))))
    return rows


def _table(head: tuple[str, ...], rows: list[Any]) -> list[str]:
    lines = [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
    return [f"| {line} |" for line in lines]


def board_card(build: Mapping[str, Any], measurement: Mapping[str, Any] | None) -> str:
    """What the model needs on a board, from its build.json and measurement.json."""
    footprint = build["footprint"]
    rows = [
        ("flash", f"{footprint['flash_bytes']:,} B", "linker"),
        ("RAM", f"{footprint['ram_bytes']:,} B", "linker, with the reserved stack"),
        ("arena", f"{footprint['arena_bytes']:,} B", "linker"),
    ]
    origins = measurement["origin"] if measurement else {}
    for key, unit in (
        ("instructions", ""),
        ("cycles_model", ""),
        ("latency_us", " us"),
        ("energy_uj", " uJ"),
        ("stack_bytes", " B"),
    ):
        value = measurement.get(key) if measurement else None
        if isinstance(value, list):
            value = statistics.median(value) if value else None
        if value is not None:
            rows.append((plain(key), f"{value:,.0f}{unit}", plain(origins.get(key, "unknown"))))
    if measurement and measurement["outputs_compared"]:
        equal, compared = measurement["outputs_equal"], measurement["outputs_compared"]
        rows.append(("outputs equal to the host's", f"{equal} of {compared}", "byte for byte"))
    provenance = [
        (plain(key), plain(str(build[key])))
        for key in ("engine", "optimize", "compiler", "build_id", "firmware_sha256")
    ]
    parts = [
        f"## On {plain(build['board'])}",
        "",
        *_table(("figure", "value", "origin"), rows),
        "",
        *_table(("what", "value"), provenance),
        "",
    ]
    return "\n".join(parts)

"""What compression did to a model, in lines for people."""

from __future__ import annotations

from tinydeploy.cli.render import table
from tinydeploy.compression import Agreement, Calibration, Mix

_PACKING = (
    "the aot engine packs int4 weights with --optimize size, where they save more than the kernels "
    "take that unpack them"
)


def calibration_lines(calibration: Calibration) -> str:
    """How many samples were used, and a line for each other number that was tried."""
    lines = [f"calibrated on {calibration.samples:,} of {calibration.available:,} samples"]
    for effect in calibration.effects:
        moved = "no range of an activation moves"
        if effect.range_change:
            moved = (
                f"ranges of activations move by up to {100 * effect.range_change:.1f} % "
                f"({_short(effect.tensor)})"
            )
        lines.append(
            f"  on {effect.samples:,} instead: {moved}; {_changed(effect.outputs, calibration)}"
        )
    return "\n".join(lines)


def mix_lines(mix: Mix) -> str:
    """What was reached, and a row a layer with its sensitivity."""
    head = ("layer", "kind", "weights", "saves B", "classes changed", "error", "name")
    rows = [
        (
            str(layer.layer),
            layer.op,
            layer.weights,
            layer.saved_bytes,
            _percent(layer.alone.changed),
            _percent(layer.alone.error),
            _short(layer.name),
        )
        for layer in mix.layers
    ]
    return (
        f"weights {mix.weight_bytes:,} B, int8 {mix.int8_weight_bytes:,} B; against the float "
        f"model over {mix.samples:,} samples, judged by {mix.judged_by}:\n"
        f"  int8: {_agreement(mix.int8)}\n"
        f"  this mix: {_agreement(mix.reached)}\n"
        f"each layer when it alone is int4:\n{table(head, rows, indent='  ')}\n" + _PACKING
    )


def _agreement(found: Agreement) -> str:
    error = f"error {_percent(found.error)} of the outputs' variance"
    return error if found.changed is None else f"{_percent(found.changed)} other classes, {error}"


def _changed(found: Agreement, calibration: Calibration) -> str:
    if found.changed is None:
        return f"outputs by {_percent(found.error)} of their variance"
    changed = round(found.changed * calibration.samples)
    return f"{changed:,} of {calibration.samples:,} classes change"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _short(name: str) -> str:
    """The last part of a tensor's name, which may join many."""
    last = name.split(";")[-1].strip("/")
    return last if len(last) <= 40 else f"...{last[-37:]}"

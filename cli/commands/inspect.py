"""`tinydeploy inspect`: what is in a model."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import cell, print_json, table


@click.command()
@options.MODEL
@options.JSON
def command(model: Path, as_json: bool) -> None:
    """Layers, MACs, weights, activations, and TFLite-Micro's arena on the host."""
    from tinydeploy.pipeline.inspect import inspect

    found = inspect(model)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            layer.index,
            layer.op,
            " ".join("x".join(map(str, s)) for s in layer.output_shapes),
            layer.macs,
            layer.weight_bytes,
            layer.activation_bytes,
        )
        for layer in found.layers
    ]
    click.echo(table(("#", "op", "output", "MACs", "weight B", "activation B"), rows))
    click.echo(
        f"\n{cell(found.macs)} MACs, {cell(found.parameters)} parameters, "
        f"{cell(found.weight_bytes)} B of weights; TFLite-Micro's arena: "
        f"{cell(found.tflm_arena_bytes)} B"
    )
    if found.tflm_refusal:
        click.echo(found.tflm_refusal)

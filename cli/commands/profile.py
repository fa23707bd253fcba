"""`tinydeploy profile`: where the instructions of an inference go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table

_SHOWN_FUNCTIONS = 6
_SHOWN_SHARE = 0.01


@click.command()
@options.MODEL
@options.DEVICE
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    metavar="X",
    help="One input in the model's own dtype (.npy, .npz); a random one without it.",
)
@options.ENGINE
@options.TFLM_LIB
@options.OPTIMIZE
@options.PROFILES
@options.JSON
def command(
    model: Path,
    device: str,
    inputs: Path | None,
    engine: str,
    tflm_lib: str,
    optimize: str,
    profiles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Run one inference on a board and say what each layer took.

    Firmware of its own marks where each layer begins; ordinary firmware, without the marks, runs
    the same input to compare with: `sum` over `whole` says how well the layers add up. An emulator
    counts instructions, a real board takes the time.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.arrays import load_inputs, random_inputs
    from tinydeploy.pipeline.fit import require_fit
    from tinydeploy.tflite import read_graph

    graph = read_graph(model)
    stacked = [x[:1] for x in (load_inputs(inputs, graph) if inputs else random_inputs(graph, 1))]
    board = wiring.devices([device], profiles)[device]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        plain, marked = (
            wiring.build_firmware(
                model,
                board,
                Path(scratch, name),
                engine=engine,
                optimize=optimize,
                tflm_lib=tflm_lib,
                profile=marks,
            )
            for name, marks in (("plain", False), ("marked", True))
        )
        require_fit(marked.footprint, board)
        _, whole = wiring.runner(board).run(plain, board, stacked)
        parts = wiring.runner(board).profile(marked, board, stacked)
    result = wiring.layer_costs(graph, parts, whole) | {"engine": engine, "optimize": optimize}
    if as_json:
        print_json(result)
    else:
        _show(result)


def _show(result: dict[str, Any]) -> None:
    unit = result["unit"]
    rows = [
        (
            *(layer["layer"], layer["op"], layer["output_shape"], layer["macs"]),
            *(layer[unit], f"{layer['share']:.1%}", layer["per_mac"], layer["cycles_model"]),
        )
        for layer in result["layers"]
    ]
    head = ("layer", "op", "output", "MACs", unit, "share", "/MAC", "cycles_model")
    click.echo(table(head, rows))
    click.echo(
        f"all layers {result['sum']:,.0f} {unit}, between them {result['outside']:,.0f}; whole "
        f"inference without marks {result['whole']:,.0f}: layers are {result['sum_over_whole']:.2%}"
    )
    slowest = max(result["layers"], key=lambda layer: layer[unit], default=None)
    if slowest is None or not slowest["classes"]:
        return
    click.echo(f"\nthe slowest: layer {slowest['layer']}, {slowest['op']}")
    total = sum(slowest["classes"].values())
    for title, counts in (("class", slowest["classes"]), ("function", slowest["functions"])):
        most = sorted(counts.items(), key=lambda item: -item[1])
        shown = [(n, c, f"{c / total:.1%}") for n, c in most if c / total >= _SHOWN_SHARE]
        limit = _SHOWN_FUNCTIONS if title == "function" else len(shown)
        click.echo(table((title, "instructions", "share"), shown[:limit]))

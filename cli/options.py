"""Options and parameters that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tinydeploy.config import default_registry, is_url
from tinydeploy.types import InputDescription


class _Result(click.Path):
    """A path that is written when the work is done: one that cannot be is refused before it."""

    def __init__(self, *, folder: bool) -> None:
        super().__init__(
            file_okay=not folder, dir_okay=folder, writable=True, readable=False, path_type=Path
        )

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Usage errors of `click` unless the path, or its first parent that exists, takes files."""
        super().convert(value, param, ctx)
        path = Path(value)
        parent = next(p for p in path.absolute().parents if p.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            why = "a folder in which nothing can be written" if parent.is_dir() else "a file"
            self.fail(f"{path}: {parent} is {why}", param, ctx)
        return path


RESULT_FILE = _Result(folder=False)
RESULT_FOLDER = _Result(folder=True)
MODEL = click.argument("model", type=click.Path(path_type=Path))
DEVICE = click.option("--device", required=True, metavar="NAME", help="Board to use.")
ENGINE = click.option(
    "--engine", type=click.Choice(["aot", "tflm"]), default="aot", show_default=True
)
TFLM_LIB = click.option(
    "--tflm-lib",
    default="",
    envvar="TINYDEPLOY_TFLM_LIB",
    metavar="DIR",
    help="TFLite-Micro for the tflm engine: a folder with its sources, or OWNER/NAME for lib_deps.",
)
OPTIMIZE = click.option(
    "--optimize",
    type=click.Choice(["size", "balanced", "speed"]),
    default="balanced",
    show_default=True,
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout.")
TRUST = click.option(
    "--trust-source",
    "trusted",
    is_flag=True,
    help="Let the model bring code (Lambda layers) and read files outside its folder.",
)
TRAINING = click.option(
    "--training",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Labelled samples for recipes that train: .npz with x and y, or a folder of images.",
)
METER = click.option(
    "--meter",
    default="",
    metavar="KIND:ADDRESS",
    help="Energy meter in the board's supply, for example ppk2:/dev/ttyACM1 (docs/energy.md).",
)
PROFILES = click.option(
    "--profiles",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Folder with more board files.",
)
TASK = click.option(
    "--task",
    type=click.Choice(["classify", "regress", "anomaly"]),
    help="What the model does; classify, or what its description says, by default.",
)
PORT = click.option(
    "--port",
    default="",
    metavar="PORT",
    help="Serial port, socket://HOST:PORT, or the board's serial number; found by USB id without.",
)
BAUD = click.option(
    "--baud", type=click.IntRange(300, 4_000_000), metavar="N", help="The board file's, or this."
)


class RegistryType(click.ParamType):
    """A folder that holds `mlruns/` (a Path), or an MLflow server's URL (a str)."""

    name = "registry"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        """A URL stays text."""
        return value if isinstance(value, Path) or is_url(value) else Path(value)


REGISTRY = click.option(
    "--registry",
    type=RegistryType(),
    default=lambda: default_registry(Path()),
    metavar="DIR|URL",
    help="Folder that holds mlruns/, or an MLflow server; MLFLOW_TRACKING_URI if that is a server, "
    "the current folder otherwise.",
)
NOTE = click.option("--note", default="", help="Why; kept in the history.")


def version(default: str) -> Callable[[Any], Any]:
    """`--version N`, with what holds without it."""
    return click.option("--version", metavar="N", help=f"A version of NAME. {default}")


REQUIRE_SIGNATURE = click.option(
    "--require-signature",
    is_flag=True,
    help="Refuse what no trusted key has signed; also TINYDEPLOY_REQUIRE_SIGNATURE=1.",
)


_LIMITS = (
    ("--min-metric", float, "Least value of the metric (greatest, for an error)."),
    ("--max-loss", float, "Greatest distance to the metric of the reference."),
    ("--confidence", float, "Show it by a paired test (0.95); else the observed loss decides."),
    ("--reference", str, "Variant to lose against; the best one by default."),
    ("--max-flash", int, "Bytes of flash."),
    ("--max-ram", int, "Bytes of RAM."),
    ("--max-instructions", int, "Instructions an inference."),
    ("--max-latency", float, "Microseconds an inference."),
    ("--max-energy", float, "Microjoules an inference."),
)
_FIELDS = {
    "--max-flash": "max_flash_bytes",
    "--max-ram": "max_ram_bytes",
    "--max-latency": "max_latency_us",
    "--max-energy": "max_energy_uj",
}


def PLACES(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where a configured flow keeps its results, in place of what its file says."""
    work = click.option(
        "--work", type=click.Path(path_type=Path), metavar="DIR", help="Cached stages."
    )
    registry = click.option(
        "--registry",
        type=RegistryType(),
        metavar="DIR|URL",
        help="Folder that holds mlruns/, or an MLflow server.",
    )
    return registry(work(function))


def LIMITS(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `LimitsConfig`, under its field names."""
    for option, kind, text in reversed(_LIMITS):
        field = _FIELDS.get(option, option[2:].replace("-", "_"))
        function = click.option(option, field, type=kind, help=text)(function)
    return function


OBJECTIVE = click.option(
    "--objective",
    metavar="WHAT",
    help='flash, ram, instructions, latency, energy, or a sum: "flash/1e5 + 2*ram/1e4".',
)
_LAYOUTS = click.Choice(["as-is", "channels-first"])


def INPUT(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that describe raw data: the model's float input is (raw * scale) - mean."""
    for option, kind, text in (
        ("--input-layout", _LAYOUTS, "How raw images lie in memory."),
        ("--input-mean", float, "Subtracted after scaling."),
        ("--input-scale", float, "Factor from raw data to the model's float input."),
        ("--input-dtype", str, "Dtype of raw data that needs scaling, for example uint8."),
    ):
        function = click.option(option, type=kind, help=text)(function)
    return function


def input_description(
    input_dtype: str | None = None,
    input_scale: float | None = None,
    input_mean: float | None = None,
    input_layout: str | None = None,
) -> InputDescription | None:
    """The description the options of `INPUT` give, or None without any."""
    if input_dtype is input_scale is input_mean is input_layout is None:
        return None
    return InputDescription(
        dtype=input_dtype or "float32",
        scale=1.0 if input_scale is None else input_scale,
        mean=input_mean or 0.0,
        layout="channels-first" if input_layout == "channels-first" else "as-is",
    )


def out_dir(required: bool = True) -> Callable[[Any], Any]:
    """`--out DIR`."""
    return click.option(
        "--out", type=RESULT_FOLDER, required=required, metavar="DIR", help="Result."
    )


_bar_before = ""


def progress(message: str) -> None:
    """One line of progress, on stderr; on a terminal a bar takes the place of the one before."""
    global _bar_before
    bar, drawn, _ = message.partition(" [#") if " [#" in message else message.partition(" [-")
    if drawn and bar == _bar_before and sys.stderr.isatty():
        message = f"\x1b[1A\x1b[2K{message}"
    _bar_before = bar if drawn else ""
    click.echo(message, err=True)

"""`tinydeploy supernet`: train one net that many boards' nets are cut out of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table
from tinydeploy.types import to_json


@click.group()
def command() -> None:
    """One trained net for many budgets: its parts are nets too (once-for-all)."""


@command.command()
@click.option("--training", type=click.Path(path_type=Path), required=True, metavar="DATA",
              help="Labelled images or spectrograms: .npz with x (N, H, W, C) and y.")  # fmt: skip
@click.option("--out", type=options.RESULT_FILE, required=True, metavar="FILE",
              help="NAME.supernet.")  # fmt: skip
@click.option("--space", type=click.Path(path_type=Path), metavar="FILE",
              help="The family as TOML: stem, stages, widths, depths, kernels.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=128, show_default=True)
@click.option("--learning-rate", type=float, default=5e-3, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=7, show_default=True)
@options.INPUT
@options.JSON
def train(
    training: Path,
    out: Path,
    space: Path | None,
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    as_json: bool,
    **described: Any,
) -> None:
    """Train a family of nets at once; interrupted, the same command goes on."""
    from tinydeploy.errors import UsageError
    from tinydeploy.pipeline.data import load_dataset
    from tinydeploy.pipeline.supernet import train_supernet
    from tinydeploy.pipeline.supernet.space import load_space
    from tinydeploy.types import Training

    if learning_rate <= 0:
        raise UsageError(f"--learning-rate {learning_rate}", hint="above 0; 0.005 is usual")
    raw = options.input_description(**described)
    about = train_supernet(
        load_dataset(training, description=raw),
        out,
        load_space(space),
        Training("supernet", epochs, batch, learning_rate, seed=seed),
        description=raw,
        progress=options.progress,
    )
    if as_json:
        print_json({"path": str(out), **to_json(about)})
    else:
        click.echo(f"{out}: {len(about.space.choices())} nets, see: tinydeploy supernet show {out}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.JSON
def show(file: Path, as_json: bool) -> None:
    """The nets of a supernet and what each computes."""
    from tinydeploy.pipeline.supernet import nets_of, read_about
    from tinydeploy.pipeline.supernet.space import CHOICES

    about, nets = read_about(file), nets_of(file)
    if as_json:
        rows = [{"name": n.name, **to_json(n.choice), "macs": n.macs} for n in nets]
        print_json({**to_json(about), "nets": rows})
        return
    shape = "x".join(map(str, about.shape))
    click.echo(
        f"{shape} to {about.classes} classes, trained {about.training.epochs} epochs on "
        f"{about.samples:,} samples"
    )
    rows_ = [
        (n.name, *(f"{getattr(n.choice, what):g}" for what in CHOICES), f"{n.macs:,}") for n in nets
    ]
    click.echo(table(("net", *CHOICES, "MACs"), rows_))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--width", type=float, required=True, help="Share of the channels.")
@click.option("--depth", type=int, required=True, help="Blocks a stage.")
@click.option("--kernel", type=int, required=True, help="Side of the depthwise kernels.")
@click.option("--resolution", type=float, default=1.0, show_default=True,
              help="Share of a sample's height and width.")  # fmt: skip
@click.option("--out", type=options.RESULT_FILE, required=True, metavar="FILE",
              help="NAME.keras.")  # fmt: skip
@options.JSON
def extract(
    file: Path, width: float, depth: int, kernel: int, resolution: float, out: Path, as_json: bool
) -> None:
    """Write one net as an ordinary .keras file; nothing is trained, no data are needed."""
    from tinydeploy.pipeline.supernet import write_subnet
    from tinydeploy.pipeline.supernet.space import Choice
    from tinydeploy.store import sha256_file

    choice = Choice(width, depth, kernel, resolution)
    write_subnet(file, choice, out)
    digest = sha256_file(out)
    if as_json:
        print_json({"path": str(out), "sha256": digest, **to_json(choice)})
    else:
        click.echo(f"{out}: {out.stat().st_size:,} B, sha256 {digest}")

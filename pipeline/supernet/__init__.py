"""Once-for-all in small: one trained supernet, many nets (Cai et al., 2020).

A family of depthwise-separable CNNs with elastic width, depth and kernel is trained once
(`train_supernet`); each of its nets is then cut out without training (`nets_of`), as an ordinary
Keras model that recipes convert. `space` says what the choices are, `net` what the nets look like.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.errors import UsageError
from tinydeploy.lineage import tool_versions
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.supernet.extract import extract, net_path
from tinydeploy.pipeline.supernet.space import Choice, Space, macs
from tinydeploy.pipeline.supernet.stored import SUFFIX, About, read_about, read_supernet
from tinydeploy.pipeline.train.job import alone_in, write_samples
from tinydeploy.pipeline.train.libraries import save
from tinydeploy.pipeline.train.progress import Bar
from tinydeploy.pipeline.worker import run_worker
from tinydeploy.store import cache_dir, sha256_file, sha256_json, sha256_tree, write_atomic
from tinydeploy.types import InputDescription, ModelSource, Training, to_json

_DONE = "made.supernet"


def train_supernet(
    data: Dataset,
    out: Path,
    space: Space,
    training: Training,
    *,
    description: InputDescription | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> About:
    """Train a family on labelled samples (N, height, width, channels) and write it to `out`.

    `description` says how raw samples become the nets' float input. An interrupted training goes on
    where it was; the same bytes each time on one machine.
    Raises UsageError for data that is no set of labelled images or spectrograms.
    """
    classes = _require_data(data)
    if out.suffix != SUFFIX:
        raise UsageError(f"{out}: its name must end in {SUFFIX}", hint=f"--out NAME{SUFFIX}")
    made_of = {
        "space": to_json(space),
        "training": to_json(training),
        "data": data.sha256,
        "described": to_json(description),
        "code": [
            sha256_tree(Path(__file__).parent, ("net.py", "space.py", "train.py", "worker.py")),
            sha256_tree(Path(__file__).parents[1] / "train", ("epochs.py", "job.py")),
        ],
        "tools": {k: v for k, v in tool_versions().items() if "keras" in k or "tensorflow" in k},
    }
    folder = cache_dir() / "training" / sha256_json(made_of)[:32]
    bar = Bar(f"train    {out.stem}", progress)
    with alone_in(folder, bar.waiting):
        if not (folder / _DONE).exists():
            with tempfile.TemporaryDirectory(prefix="tinydeploy-") as name:
                scratch = Path(name)
                write_samples(scratch, data, training.seed)
                job = {
                    "name": out.stem,
                    "space": to_json(space),
                    "training": to_json(training),
                    "training_sha256": data.sha256,
                    "description": to_json(description),
                    "classes": classes,
                    "folder": str(folder.resolve()),
                    "made": _DONE,
                }
                run_worker(
                    scratch,
                    job,
                    module="tinydeploy.pipeline.supernet.worker",
                    what=f"{out.stem} cannot be trained",
                    hint="check the training set and the family's TOML file",
                    timeout_s=None,
                    progress=bar.show,
                )
            for state in folder.glob("*.npz"):
                state.unlink()
        write_atomic(out, (folder / _DONE).read_bytes())
    return read_about(out)


def _require_data(data: Dataset) -> int:
    """The number of classes of labelled images or spectrograms."""
    y = data.y
    if y is None or y.ndim != 1 or y.dtype.kind not in "iu":
        found = "has no labels" if y is None else f"has labels that are {y.dtype} {y.shape}"
        raise UsageError(
            f"training data {data.path} {found}",
            hint="an .npz with x (N, height, width, channels) and y (N,), classes from 0",
        )
    if data.x.ndim != 4:
        raise UsageError(
            f"training data {data.path} has samples of the shape {data.x.shape[1:]}",
            hint="a supernet is made for images and spectrograms: (height, width, channels)",
        )
    classes = max(int(y.max()) + 1, len(data.labels))
    if int(y.min()) < 0 or classes < 2:
        raise UsageError(f"{data.path}: labels from {y.min()} to {y.max()} are no two classes")
    return classes


@dataclass(frozen=True)
class Net:
    """One net of a supernet and what it computes; `source()` cuts it out."""

    supernet: Path
    sha256: str
    choice: Choice
    macs: int
    training_sha256: str

    @property
    def name(self) -> str:
        """As the source will be called."""
        return f"{self.supernet.stem}-{self.choice.name}"

    def source(self) -> ModelSource:
        """The net as a source that recipes can convert, kept in the cache folder."""
        path = net_path(
            cache_dir() / "supernets" / self.sha256[:32], self.supernet.stem, self.choice
        )
        if not path.exists():
            save(extract(read_supernet(self.supernet), self.choice), path)
        return ModelSource(path=path, format="keras", sha256=sha256_file(path), name=self.name)


def nets_of(path: Path) -> tuple[Net, ...]:
    """All nets of a supernet, those with fewest multiply-accumulates first; none is made yet."""
    about, sha256 = read_about(path), sha256_file(path)
    learned = about.training_sha256
    found = [
        Net(path, sha256, c, macs(about.space, c, about.shape, about.classes), learned)
        for c in about.space.choices()
    ]
    return tuple(sorted(found, key=lambda n: (n.macs, n.choice)))


def write_subnet(path: Path, choice: Choice, out: Path) -> None:
    """Write one net of a supernet as a `.keras` file. Raises UsageError for no such choice."""
    if out.suffix != ".keras":
        raise UsageError(f"{out}: its name must end in .keras", hint="--out NAME.keras")
    save(extract(read_supernet(path), choice), out)

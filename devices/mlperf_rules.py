"""MLPerf Tiny's measuring rules: windows of 10 s and their median, accuracy, energy trials.

They are those of MLCommons' runner (mlcommons/tiny, `benchmark/runner`): five performance windows,
each on an input of its own, ten warm-ups before each; accuracy on every input once; five energy
trials whose windows the timestamp pin cuts. Energy is the board's whole energy, idle included, as
the standard defines it.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinydeploy.devices.mlperf import Infer, MlperfClient
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.ports import Meter
from tinydeploy.trace import PowerTrace

Progress = Callable[[str], None]
MAX_ITERATIONS = 1 << 24
LABELS = "y_labels.csv"
_COLUMNS = ("file", "classes", "class", "bytes_to_send", "stride")
_MARGIN = 1.03  # a window that is planned to the second may fall short by a few inferences
_ATTEMPTS = 4


@dataclass(frozen=True)
class Rules:
    """What a run must satisfy. The defaults are the standard's."""

    windows: int = 5
    window_s: float = 10.0
    warmups: int = 10
    trials: int = 5


@dataclass(frozen=True)
class Sample:
    """One input as the device takes it, and its class."""

    file: str
    data: bytes
    label: int
    classes: int


@dataclass(frozen=True)
class Run:
    """One `infer` on one sample."""

    sample: Sample
    infer: Infer


@dataclass(frozen=True)
class Trial:
    """One energy trial: the meter's recording, and the window between the pin's last two edges."""

    run: Run
    trace: PowerTrace
    start_s: float
    end_s: float

    @property
    def window_s(self) -> float:
        """Seconds between the edges."""
        return self.end_s - self.start_s

    @property
    def uj_per_inference(self) -> float:
        """All energy in the window, over its inferences, in microjoules."""
        return 1e6 * self.trace.energy_j(self.start_s, self.end_s) / self.run.infer.iterations


def read_samples(folder: Path, input_bytes: int, limit: int | None = None) -> list[Sample]:
    """A data set in the runner's form: `y_labels.csv` (file, classes, class) beside binary files.

    Raises UsageError for a line or a file that does not fit a model of `input_bytes`.
    """
    samples: list[Sample] = []
    try:
        with (folder / LABELS).open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file, fieldnames=_COLUMNS), 1):
                if limit is not None and len(samples) == limit:
                    break
                samples.append(_sample(folder, row, number, input_bytes))
    except OSError as e:
        raise UsageError(
            f"cannot read {e.filename}: {e.strerror}", hint=f"a folder with {LABELS} and its files"
        ) from e
    if not samples:
        raise UsageError(f"{folder / LABELS} is empty", hint="one line a file: FILE,CLASSES,CLASS")
    return samples


def _sample(folder: Path, row: dict[str, str], number: int, input_bytes: int) -> Sample:
    try:
        label, classes = int(row["class"]), int(row["classes"])
    except (TypeError, ValueError):
        label = classes = -1
    if not 0 <= label < classes:
        raise UsageError(
            f"{folder / LABELS}:{number}: no FILE,CLASSES,CLASS", hint="for example yes.bin,12,9"
        )
    path = folder / row["file"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{folder / LABELS}:{number}: {row['file']} is not below {folder}")
    data = path.read_bytes()
    if len(data) != input_bytes:
        raise UsageError(
            f"{path} has {len(data)} bytes, the model takes {input_bytes}",
            hint="files hold one input each, in the model's own dtype",
        )
    return Sample(row["file"], data, label, classes)


# ---------------------------------------------------------------- performance
def performance(
    client: MlperfClient, samples: Sequence[Sample], rules: Rules, progress: Progress
) -> list[Run]:
    """One window a sample, as many samples as windows (from the first again if there are fewer).

    The number of inferences is chosen once, so that a window takes `rules.window_s` of the device's
    own time. Raises DeviceError for a device without timestamps.
    """
    iterations = _iterations(client, samples[0], rules)
    for _ in range(_ATTEMPTS):
        runs: list[Run] = []
        for number in range(rules.windows):
            sample = samples[number % len(samples)]
            client.load(sample.data)
            runs.append(Run(sample, client.infer(iterations, rules.warmups)))
            shortest_us = _elapsed_us(runs[-1].infer)
            progress(f"window {number + 1}: {iterations} inferences in {shortest_us / 1e6:.3f} s")
            if shortest_us < rules.window_s * 1e6:
                break
        else:
            return runs
        iterations = _scaled(iterations, shortest_us / 1e6, rules.window_s)
    raise DeviceError(
        f"no window took {rules.window_s:g} s in {_ATTEMPTS} attempts",
        hint="the device's clock is not steady",
    )


def _elapsed_us(infer: Infer) -> int:
    if infer.elapsed_us is None:
        raise DeviceError(
            "the device sends no timestamps",
            hint="its firmware is in the energy mode: build it without TD_ENERGY_MODE",
        )
    return infer.elapsed_us


def _iterations(client: MlperfClient, sample: Sample, rules: Rules) -> int:
    """Inferences that fill a window, from a short trial whose length doubles until it tells."""
    iterations = 1
    while iterations <= MAX_ITERATIONS:
        client.load(sample.data)
        elapsed_s = _elapsed_us(client.infer(iterations, 0)) / 1e6
        if elapsed_s >= rules.window_s / 100:
            return _scaled(iterations, elapsed_s, rules.window_s)
        iterations *= 4
    raise DeviceError(
        f"{MAX_ITERATIONS} inferences take no time", hint="the device's clock stands still"
    )


def _scaled(iterations: int, elapsed_s: float, window_s: float) -> int:
    return math.ceil(iterations * window_s / elapsed_s * _MARGIN)


def throughputs(runs: Sequence[Run]) -> list[float]:
    """Inferences a second of each window, on the device's clock."""
    return [r.infer.iterations * 1e6 / _elapsed_us(r.infer) for r in runs]


# ---------------------------------------------------------------- accuracy
def accuracy(client: MlperfClient, samples: Sequence[Sample], progress: Progress) -> list[Run]:
    """Every sample once, without warm-ups. `top1` judges the result."""
    runs = []
    for number, sample in enumerate(samples, 1):
        client.load(sample.data)
        runs.append(Run(sample, client.infer(1, 0)))
        if len(runs[-1].infer.results) != sample.classes:
            raise UsageError(
                f"the device gives {len(runs[-1].infer.results)} results, "
                f"{sample.file} has {sample.classes} classes",
                hint="accuracy is for models that classify; are the labels those of the model?",
            )
        if number % 100 == 0 or number == len(samples):
            progress(f"{number} of {len(samples)} inputs, top 1 {100 * top1(runs):.1f} %")
    return runs


def top1(runs: Sequence[Run]) -> float:
    """Share of samples whose greatest result stands at their class; of equal ones the first."""
    return float(np.mean([np.argmax(r.infer.results) == r.sample.label for r in runs]))


def mean_auc(runs: Sequence[Run], auc: Callable[[np.ndarray, np.ndarray], float]) -> float | None:
    """Mean of the classes' one-against-rest areas under the ROC curve; `auc` computes one.

    With two classes it is that of the second. None where a class does not occur, or is alone.
    """
    results = np.array([r.infer.results for r in runs], np.float64)
    sums = results.sum(axis=1, keepdims=True)
    scores = np.divide(results, sums, out=np.zeros_like(results), where=sums != 0)
    labels = np.array([r.sample.label for r in runs])
    classes = scores.shape[1]
    if len(np.unique(labels)) != classes or classes < 2:
        return None
    judged = range(1, 2) if classes == 2 else range(classes)
    return float(np.mean([auc(scores[:, c], (labels == c).astype(int)) for c in judged]))


# ---------------------------------------------------------------- energy
def energy(
    client: MlperfClient,
    samples: Sequence[Sample],
    meter: Meter,
    rules: Rules,
    progress: Progress,
    iterations: int = 1,
) -> list[Trial]:
    """One trial a sample; inferences grow from `iterations` until a window is 10 s long.

    Raises DeviceError where the meter sees no edges of the timestamp pin.
    """
    for _ in range(2 * _ATTEMPTS):
        trials: list[Trial] = []
        for number in range(rules.trials):
            trials.append(_trial(client, samples[number % len(samples)], meter, rules, iterations))
            last = trials[-1]
            progress(f"trial {number + 1}: {iterations} inferences in {last.window_s:.3f} s")
            if last.window_s < rules.window_s:
                break
            progress(f"  {last.uj_per_inference:.3f} uJ an inference")
        else:
            return trials
        # A first window may be shorter than the meter's sample: at most a hundredfold at a time.
        shortest_s = max(last.window_s, rules.window_s * _MARGIN / 100)
        iterations = _scaled(iterations, shortest_s, rules.window_s)
    raise DeviceError(f"no window took {rules.window_s:g} s", hint="more inferences: --iterations")


def _trial(
    client: MlperfClient, sample: Sample, meter: Meter, rules: Rules, iterations: int
) -> Trial:
    client.load(sample.data)
    meter.start()
    try:
        ran = client.infer(iterations, rules.warmups)
        time.sleep(0.05)  # the last samples are on their way
    finally:
        trace = meter.stop()
    if trace.edges_s.size < 2:
        raise DeviceError(
            f"{meter.name} saw {trace.edges_s.size} edges of the timestamp pin",
            hint="wire the pin to the meter's digital input (docs/energy.md), and build for it",
        )
    # There may be other activity on the pin before: the runner takes the last two as well.
    start_s, end_s = (float(t) for t in trace.edges_s[-2:])
    return Trial(Run(sample, ran), trace, start_s, end_s)

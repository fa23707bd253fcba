"""One way to compress: the vocabulary of `pipeline/recipes/*.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinydeploy.compression import MixBudget


@dataclass(frozen=True)
class Training:
    """How a recipe trains before it converts: `[training]` of a recipe.

    `method` is a trainer of `plugins`. `macs` is the share of the source's multiply-accumulates
    that is left by methods that make nets smaller. Distillation has the loss
    ``(1 - teacher_weight) * CE + teacher_weight * temperature**2 * KL``. `student` is a Keras model
    file to distill into, "" for the source narrowed to `macs`; its hash follows from it.
    """

    method: str
    epochs: int = 10
    batch: int = 128
    learning_rate: float = 1e-3
    macs: float = 1.0
    temperature: float = 4.0
    teacher_weight: float = 0.7
    seed: int = 7
    student: str = ""
    student_sha256: str = ""


@dataclass(frozen=True)
class Recipe:
    """One way to compress, read from `pipeline/recipes/NAME.toml`.

    "any" is for models that are compressed already and stay as they are; "int4" weights are int8
    where no engine computes int4 right; of "mixed" ones each layer has int4 or int8, by measured
    sensitivity and within the budget `mixed`. `granularity` says whether weights have a scale a
    channel or one a tensor; `ranges` how an activation's range is found on the calibration set
    (`percentile` percent of the values lie in it). `quantizer` is "tflite" for TensorFlow's own
    converter, which needs a Keras model or a SavedModel; "auto" takes it where it serves. `pruned`
    is the share of weights that become zero, `clusters` the number of values that a layer's weights
    may have (0: as many as there are). With `training` the source is trained on the user's data
    before it is converted.
    """

    name: str
    description: str
    activations: Literal["float32", "int8", "int16", "any"]
    weights: Literal["float32", "int8", "int4", "mixed", "any"]
    calibration_samples: int = 0
    granularity: Literal["channel", "tensor"] = "channel"
    ranges: Literal["min-max", "percentile", "mse"] = "min-max"
    percentile: float = 99.99
    quantizer: Literal["auto", "tflite", "litert"] = "auto"
    pruned: float = 0.0
    clusters: int = 0
    mixed: MixBudget | None = None
    training: Training | None = None

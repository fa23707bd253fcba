"""Values that say how a model was compressed: the precision of its layers, its calibration.

They are part of an `Artifact`, and `MixBudget` of a `Recipe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Judge = Literal["classes", "outputs"]


@dataclass(frozen=True)
class MixBudget:
    """What the layers of a `weights = "mixed"` recipe may cost; a limit that is None does not bind.

    `max_loss` is how much less a mix may agree with the float model than int8 does. Judged by
    "classes" it is a share of the calibration samples, those whose class differs from the float
    model's; by "outputs" it is squared error as a share of the outputs' variance; "auto" takes
    classes for the task `classify`. `max_weight_bytes` and `max_weight_share` (of int8's) limit the
    bytes of all constants, as the `.tflite` stores them.
    """

    max_loss: float | None = None
    max_weight_bytes: int | None = None
    max_weight_share: float | None = None
    judged_by: Literal["auto", "classes", "outputs"] = "auto"


@dataclass(frozen=True)
class Agreement:
    """How far the outputs of a model are from those of another on the same samples.

    `error` is the squared error as a share of the variance of the other's outputs, `changed` the
    share of samples whose greatest output is another, None where no class is read from the outputs.
    """

    error: float
    changed: float | None = None

    def loss(self, judge: Judge) -> float:
        """The figure that decides."""
        return self.changed if judge == "classes" and self.changed is not None else self.error


@dataclass(frozen=True)
class LayerPrecision:
    """A layer that could have int4 weights, and what that does to the model.

    `layer` is the operator's index in the `.tflite`, `name` that of its weights. `alone` is the
    agreement with the float model when only this layer is int4.
    """

    layer: int
    op: str
    name: str
    weights: Literal["int4", "int8"]
    saved_bytes: int
    alone: Agreement


@dataclass(frozen=True)
class Mix:
    """The precision of each layer of a "mixed" model, and what it was chosen by.

    `int8` and `reached` are agreements with the float model over `samples` calibration samples, of
    the plain int8 model and of the mix as it is; the bytes are those of all constants.
    """

    judged_by: Judge
    samples: int
    int8: Agreement
    int8_weight_bytes: int
    reached: Agreement
    weight_bytes: int
    layers: tuple[LayerPrecision, ...]


@dataclass(frozen=True)
class CalibrationEffect:
    """What calibrating on `samples` samples instead changes.

    `range_change` is the largest move of an end of an activation's range, as a share of the range;
    `tensor` is that activation. `outputs` compares the two models on the calibration samples.
    """

    samples: int
    range_change: float
    tensor: str
    outputs: Agreement


@dataclass(frozen=True)
class Calibration:
    """The calibration of a model: how many of the `available` samples were used.

    `effects` is empty where nobody measured them.
    """

    samples: int
    available: int
    effects: tuple[CalibrationEffect, ...] = ()

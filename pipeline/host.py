"""The host's side of a comparison: the native build of a model, and outputs byte for byte."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

import numpy as np

from tinydeploy.ports import Predictor
from tinydeploy.types import Measurement


class HostBuild:
    """The native build of one artifact, made when it is first needed, used by one at a time."""

    def __init__(self, make: Callable[[], Predictor]) -> None:
        self._make = make
        self._predictor: Predictor | None = None
        self._lock = threading.Lock()

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As `Predictor.predict`; the first call builds."""
        with self._lock:
            if self._predictor is None:
                self._predictor = self._make()
            return self._predictor.predict(inputs)

    def close(self) -> None:
        """Release the library."""
        with self._lock:
            if self._predictor is not None:
                self._predictor.close()
                self._predictor = None


def compare(
    outputs: list[np.ndarray], expected: list[np.ndarray], measurement: Measurement
) -> Measurement:
    """The measurement, with how many inferences gave the host's outputs byte for byte."""
    equal = sum(
        all(o[i].tobytes() == e[i].tobytes() for o, e in zip(outputs, expected, strict=True))
        for i in range(measurement.samples)
    )
    return dataclasses.replace(
        measurement, outputs_compared=measurement.samples, outputs_equal=equal
    )

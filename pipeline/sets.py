"""The data sets of one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy.config import Config
from tinydeploy.errors import UsageError
from tinydeploy.pipeline.data import Dataset, load_dataset, require_same_classes

APART = "what was learned by heart looks good: keep other samples to judge by"


@dataclass(frozen=True, eq=False)
class Sets:
    """What variants are judged on, what ranges are found on, what training recipes learn from."""

    validation: Dataset
    calibration: Dataset | None = None
    training: Dataset | None = None

    def logged(self) -> dict[str, Any]:
        """Origin and content of each, as the registry logs them."""
        named = {
            "training": self.training,
            "calibration": self.calibration,
            "validation": self.validation,
        }
        return {
            name: {
                "path": str(data.path),
                "sha256": data.sha256,
                "samples": len(data.x),
                "context": name,
            }
            for name, data in named.items()
            if data
        }


def load_sets(config: Config) -> Sets:
    """The sets of a configuration, images resized as the input is described; not its test set.

    Raises UsageError for what cannot be used, and for training on the validation or the test set.
    """

    def load(path: Path | None) -> Dataset | None:
        return load_dataset(path, description=config.input) if path else None

    data = config.data
    validation = load_dataset(data.validation, description=config.input)
    sets = Sets(validation, load(data.calibration), load(data.training))
    if sets.training:
        require_same_classes(sets.training, validation.labels, str(validation.path))
        for what, other in (("validation", validation), ("test", load(data.test))):
            if other and sets.training.sha256 == other.sha256:
                raise UsageError(f"{sets.training.path} is the {what} set as well", hint=APART)
    return sets

"""What made a model or a firmware, beside its source and its data: recipe, code, tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

# Packages whose version can change a byte of a model, an evaluation or a firmware.
_TOOLS = (
    "tinydeploy",
    "ai-edge-litert",
    "keras",
    "mlflow",
    "numpy",
    "onnx2tf",
    "platformio",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-model-optimization",
    "tf-keras",
    "tflite-micro",
)


@dataclass(frozen=True)
class Lineage:
    """`recipe_sha256` is of the recipe's content, "" where no recipe was at work.

    `code` maps rooms of tinydeploy to the sha256 of their sources, `tools` packages to versions.
    """

    recipe_sha256: str = ""
    code: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


def tool_versions() -> dict[str, str]:
    """The installed versions of the packages that take part; those not installed are left out."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""The process behind `torch.convert`. It runs in the PyTorch environment, where tinydeploy is not
installed: it imports nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

_EXAMPLE = "return (module, (example_input,)) from the function, a batch of one"


def load(job: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """The module in evaluation mode, and its example inputs."""
    import torch

    if job["program"]:
        program = torch.export.load(job["source"])
        if program.example_inputs is None:
            raise ValueError("the exported program holds no example inputs")
        return program.module(), tuple(program.example_inputs[0])
    path, _, function = job["source"].rpartition(":")
    file = Path(path)
    sys.path[:0] = [str(file.parent), job["search"]]
    found = getattr(importlib.import_module(file.name), function)()
    module, examples = found
    return module.eval(), tuple(examples)


def main() -> None:
    """Write `model.tflite` and `compare.npz` (inputs channels last, outputs), or `error.json`."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    try:
        convert(folder, job)
    except Exception as error:  # torch and litert-torch raise anything
        words = " ".join(f"{type(error).__name__}: {error}".split())
        text = json.dumps({"message": words[:600], "hint": ""})
        (folder / "error.json").write_text(text, encoding="utf-8")


def convert(folder: Path, job: dict[str, Any]) -> None:
    """One conversion."""
    import litert_torch
    import numpy as np
    import torch

    module, examples = load(job)
    if not all(isinstance(x, torch.Tensor) for x in examples):
        raise TypeError(f"the example inputs are no tuple of tensors: {_EXAMPLE}")
    if batches := [x.shape[0] for x in examples if x.ndim and x.shape[0] != 1]:
        raise ValueError(f"an example input is a batch of {batches[0]}: {_EXAMPLE}")
    images = [i for i, x in enumerate(examples) if x.ndim == 4]
    with torch.no_grad():
        outputs = module(*examples)
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    inputs = [
        x.permute(0, 2, 3, 1).contiguous() if i in images else x for i, x in enumerate(examples)
    ]
    wrapped = litert_torch.to_channel_last_io(module, args=images) if images else module
    litert_torch.convert(wrapped, tuple(inputs)).export(str(folder / "model.tflite"))
    arrays = {f"input_{i}": x.detach().numpy() for i, x in enumerate(inputs)}
    arrays.update({f"output_{i}": x.detach().numpy() for i, x in enumerate(outputs)})
    np.savez(folder / "compare.npz", **arrays)


if __name__ == "__main__":
    main()

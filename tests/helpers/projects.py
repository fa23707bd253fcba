"""Projects of a user: a folder with data and a tinydeploy.toml."""

from __future__ import annotations

from pathlib import Path


def project(folder: Path, root: Path, line: str) -> Path:
    """A tinydeploy.toml for one .tflite on the native firmware."""
    import numpy as np

    folder.mkdir(exist_ok=True)
    x = np.random.default_rng(0).uniform(-1, 1, (6, 20, 10, 1)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(6) % 3)
    path = folder / "tinydeploy.toml"
    path.write_text(
        f'name = "net"\nsources = ["{root}/tests/models/dscnn_int8.tflite"]\n'
        f'recipes = ["as-is"]\ndevices = ["loopback"]\n{line}\n'
        '[data]\nvalidation = "data.npz"\n'
    )
    return path

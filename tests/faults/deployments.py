"""A small deployment that needs no TensorFlow: two .tflite models on the native firmware."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinydeploy.tflite import read_graph

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests/models"
SOURCES = ("dscnn_int8", "dscnn_float32")


@dataclass(frozen=True)
class Project:
    """A folder with a tinydeploy.toml."""

    folder: Path

    def command(self) -> list[str]:
        code = "from tinydeploy.cli.main import main; main()"
        config = str(self.folder / "tinydeploy.toml")
        return [sys.executable, "-c", code, "deploy", "--config", config, "--json"]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TINYDEPLOY_CACHE": str(self.folder / "cache")}

    def deploy(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(), env=self.environment(), capture_output=True, text=True, check=False
        )


def versions(folder: Path) -> list[tuple[str, str]]:
    """(version, source folder) of every registered version; their artifacts must be whole."""
    database = folder / "mlruns/mlflow.db"
    if not database.exists():
        return []
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table'")
        if ("model_versions",) not in tables.fetchall():
            return []
        rows = connection.execute("select version, source from model_versions").fetchall()
        for version, source in rows:
            tags = dict(
                connection.execute(
                    "select key, value from model_version_tags where version = ?", (version,)
                ).fetchall()
            )
            assert "accuracy" in tags and "model_sha256" in tags
            model = Path(source.removeprefix("file://"))
            assert (model / "MLmodel").is_file() and list(model.rglob("*.tflite"))
    return [(str(v), s) for v, s in rows]


def make_project(folder: Path, device: str, fault: str = "") -> Project:
    """A deployment of SOURCES to one board; with `fault`, to a loopback that misbehaves so."""
    shape = read_graph(MODELS / f"{SOURCES[0]}.tflite")
    sample = shape.tensors[shape.inputs[0]].shape[1:]
    x = np.random.default_rng(0).uniform(-1, 1, (12, *sample)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(12) % 3)
    profiles = ""
    if fault:
        text = (ROOT / "devices/profiles/loopback.toml").read_text()
        (folder / "boards").mkdir()
        (folder / "boards" / f"{device}.toml").write_text(
            f'{text}fault = "{fault}"\ninfer_timeout_s = "2"\n'
        )
        profiles = 'profiles = ["boards"]\n'
    sources = ", ".join(f'"{MODELS / s}.tflite"' for s in SOURCES)
    (folder / "tinydeploy.toml").write_text(
        f'name = "net"\nsources = [{sources}]\nrecipes = ["as-is"]\ndevices = ["{device}"]\n'
        f'{profiles}[data]\nvalidation = "data.npz"\n'
    )
    return Project(folder)

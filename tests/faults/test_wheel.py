"""The wheel, installed in an empty environment outside the repository, runs the demo's deploy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def installed(folder: Path) -> Path:
    """Python of a new environment that holds the wheel and, by a path entry, its dependencies.

    A path entry brings packages but not the editable install of this checkout.
    """
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        folder / "dist",
    ]
    copy = folder / "source"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", copy], check=True)
    subprocess.run([*build, copy], check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    site = next((folder / "venv/lib").glob("python*/site-packages"))
    wheel = next((folder / "dist").glob("*.whl"))
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, site], check=True)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.qemu
def test_the_wheel_deploys_the_example(tmp_path: Path) -> None:
    python = installed(tmp_path)
    example = tmp_path / "example"
    subprocess.run(["cp", "-r", ROOT / "examples/fashion_mnist", example], check=True)
    subprocess.run([python, example / "data.py"], check=True, capture_output=True)
    config = example / "tinydeploy.toml"
    text = config.read_text()
    # One net and two boards: the whole width is the demo's own matter.
    text = text.replace('"small.keras", "medium.keras", "large.keras"', '"small.keras"')
    text = text.replace('"qemu-cortex-m3", "qemu-cortex-m4", "qemu-cortex-m55", ', "")
    text = text.replace("min_metric = 0.91", "min_metric = 0.8")
    config.write_text(text)
    done = subprocess.run(
        [python, "-c", "from tinydeploy.cli.main import main; main()",
         "deploy", "--config", config, "--registry", tmp_path, "--work", tmp_path / "work",
         "--json"],
        cwd=tmp_path, env={**os.environ, "TINYDEPLOY_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    selections = result["selections"]
    assert [s["board"] for s in selections] == ["qemu-cortex-m0", "qemu-rv32"]
    for selection in selections:
        chosen = selection["chosen"]
        able = [c for c in selection["candidates"] if c["outputs_verified"]]
        assert len(able) >= 2
        assert chosen["flash_bytes"] == min(c["flash_bytes"] for c in able)
    where = subprocess.run(
        [python, "-c", "import tinydeploy; print(tinydeploy.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(tmp_path))

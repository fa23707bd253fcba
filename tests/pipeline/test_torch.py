"""PyTorch sources. They need the PyTorch environment, too large to be set up for a test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.errors import ToolMissingError, UnsupportedModelError, UsageError
from tinydeploy.pipeline.convert import convert, torch_environment
from tinydeploy.pipeline.data import make_dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.prepare import prepare
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph
from tinydeploy.types import InputDescription

NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.dense = torch.nn.Linear(4 * 4 * 3, 5)

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return torch.softmax(self.dense(x.flatten(1)), -1)


def make():
    torch.manual_seed(0)
    return Net(), (torch.randn(1, 3, 8, 6),)


def many():
    return Net(), (torch.randn(4, 3, 8, 6),)


def unsupported():
    class Fft(torch.nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real
    return Fft(), (torch.randn(1, 8),)


if __name__ == "__main__":
    import sys
    import numpy as np

    module, example = make()
    module.eval()
    torch.export.save(torch.export.export(module, example), sys.argv[1])
    with torch.no_grad():
        np.save(sys.argv[2], module(torch.from_numpy(np.load(sys.argv[3]))).numpy())
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = torch_environment.find()
    if python is None:
        pytest.skip("needs the PyTorch environment (tinydeploy doctor --install torch)")
    folder = tmp_path_factory.mktemp("torch")
    (folder / "net.py").write_text(NET)
    x = np.random.default_rng(0).normal(size=(10, 3, 8, 6)).astype(np.float32)
    np.save(folder / "x.npy", x)
    files = [str(folder / name) for name in ("net.py", "net.pt2", "y.npy", "x.npy")]
    subprocess.run([str(python), *files], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["net.pt2", "net:make"])
def test_channels_last_without_transposing(folder: Path, tmp_path: Path, name: str) -> None:
    artifact = convert(load_source(folder / name), load_recipe("float32"), tmp_path)
    graph = read_graph(artifact.path)
    assert graph.tensors[graph.inputs[0]].shape == (1, 8, 6, 3)
    assert "TRANSPOSE" not in [op.name for op in graph.ops]
    x = prepare(
        np.load(folder / "x.npy"), graph.tensors[graph.inputs[0]],
        InputDescription(layout="channels-first"),
    )  # fmt: skip
    with LiteRt(artifact.path) as predictor:
        (out,) = predictor.predict([x])
    np.testing.assert_allclose(out, np.load(folder / "y.npy"), atol=1e-5)
    assert max(artifact.agreement.values()) < 1e-5


def test_quantized(folder: Path, tmp_path: Path) -> None:
    artifact = convert(
        load_source(folder / "net.pt2"), load_recipe("int8"), tmp_path,
        calibration=make_dataset(np.load(folder / "x.npy"), None, (), Path("x.npz")),
        description=InputDescription(layout="channels-first"),
    )  # fmt: skip
    graph = read_graph(artifact.path)
    assert {graph.tensors[t].dtype for t in (*graph.inputs, *graph.outputs)} == {"int8"}


def test_what_litert_torch_refuses_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="net:unsupported cannot be converted"):
        convert(load_source(folder / "net:unsupported"), load_recipe("float32"), tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_an_example_of_several_samples_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"a batch of 4: .*a batch of one"):
        convert(load_source(folder / "net:many"), load_recipe("float32"), tmp_path / "o")


def test_without_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(torch_environment.VARIABLE, raising=False)
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path))
    (tmp_path / "net.py").write_text(NET)
    with pytest.raises(ToolMissingError, match="PyTorch environment") as caught:
        convert(load_source(tmp_path / "net:make"), load_recipe("float32"), tmp_path / "out")
    assert "doctor --install torch" in caught.value.hint


def test_a_function_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*nothing\.py"):
        load_source(tmp_path / "nothing:make")

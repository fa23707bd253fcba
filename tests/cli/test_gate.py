"""`tinydeploy gate`: exit codes, JUnit, Markdown, the champion; on an emulated board and native."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tinydeploy.cli.gate_report import junit, markdown
from tinydeploy.cli.main import cli
from tinydeploy.errors import GateError, RegistryError, TinydeployError, UsageError
from tinydeploy.pipeline.gate import Check, Verdict
from tinydeploy.tflite import read_graph

MODELS = Path(__file__).resolve().parents[1] / "models"
INT8 = MODELS / "dscnn_int8.tflite"


def gate(*words: object) -> Result:
    return CliRunner().invoke(cli, ["gate", *map(str, words)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = read_graph(INT8)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    x = np.random.default_rng(1).integers(-128, 127, (40, *shape), np.int8)
    path = tmp_path_factory.mktemp("data") / "d.npz"
    np.savez(path, x=x, y=np.arange(40) % 3)
    return path


@pytest.fixture(scope="module")
def registry(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dscnn_int8 as the champion of loopback, as `net`."""
    root = tmp_path_factory.mktemp("registry")
    for words in (
        ["build", INT8, "--device", "loopback", "--out", root / "fw"],
        ["register", INT8, "--name", "net", "--data", data, "--build", root / "fw",
         "--registry", root],
        ["select", "net", "--device", "loopback", "--registry", root],
    ):  # fmt: skip
        CliRunner().invoke(cli, list(map(str, words)), catch_exceptions=False)
    return root


def test_the_champion_passes_its_own_gate(registry: Path, data: Path, tmp_path: Path) -> None:
    found = gate(
        INT8, "--device", "loopback", "--name", "net", "--registry", registry, "--data", data,
        "--max-flash", "+0%", "--max-ram", "+0", "--min-accuracy", "-0", "--junit", tmp_path / "j",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "dscnn_int8.tflite on loopback: passed" in found.stdout
    root = ElementTree.fromstring((tmp_path / "j").read_text(encoding="utf-8"))
    (suite,) = root
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    names = {case.get("name") for case in suite}
    assert {"outputs equal the host's", "accuracy", "flash", "RAM", "latency", "energy"} <= names


def test_a_model_larger_than_allowed_fails_with_the_reason(registry: Path, tmp_path: Path) -> None:
    found = gate(
        INT8, "--device", "loopback", "--name", "net",
        "--registry", registry, "--max-flash", "-2%", "--junit", tmp_path / "j.xml",
    )  # fmt: skip
    assert isinstance(found.exception, GateError)
    assert found.exception.exit_code == 8
    assert "flash" in found.exception.message and "is above" in found.exception.message
    failure = ElementTree.parse(tmp_path / "j.xml").find(".//failure")
    assert failure is not None and "is above" in (failure.get("message") or "")


def test_a_confidence_wants_more_than_a_few_samples(
    registry: Path, data: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.tflite"  # another file that computes the same
    twin.write_bytes(INT8.read_bytes() + bytes(4))
    words = ["--device", "loopback", "--name", "net", "--registry", registry, "--data", data,
             "--min-accuracy", "-0.02", "--confidence", "0.95"]  # fmt: skip
    assert gate(INT8, *words).exit_code == 0  # the champion itself loses nothing
    found = gate(twin, *words)
    assert isinstance(found.exception, GateError), found.output
    assert "accuracy loss +0.0000 against dscnn_int8-" in found.exception.message
    assert "in 40 samples, about 133 samples would decide" in found.stdout


@pytest.mark.qemu
def test_an_emulated_board_counts_instructions() -> None:
    words = [INT8, "--device", "qemu-cortex-m4", "--json", "--samples", "1"]
    found = gate(*words, "--max-instructions", "10")
    (verdict,) = json.loads(found.stdout[: found.stdout.rindex("]") + 1])
    assert not verdict["passed"] and isinstance(found.exception, GateError)
    (counted,) = (c for c in verdict["checks"] if c["name"] == "instructions")
    assert counted["origin"] == "emulated" and counted["value"] > 10
    assert gate(*words, "--max-instructions", counted["value"]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--min-accuracy", "0.9"], UsageError, "needs --data"),
        (["--max-flash", "2%"], UsageError, "is no limit"),
        (["--max-flash", "+2%"], UsageError, "relative to a champion"),
        (["--confidence", "0.95"], UsageError, "needs --min-accuracy as a distance"),
        (["--name", "nobody"], RegistryError, "no model called 'nobody'"),
    ],
)
def test_bad_input(
    words: list[str], error: type[TinydeployError], message: str, tmp_path: Path
) -> None:
    found = gate(INT8, "--device", "loopback", "--registry", tmp_path, *words)
    assert isinstance(found.exception, error)
    assert message in found.exception.message
    assert found.exception.hint


def test_what_comes_from_models_and_boards_breaks_neither_format() -> None:
    evil = 'x"><script>alert(1)</script>\x00|&]]>\n'
    verdicts = [
        Verdict(evil, (Check(evil, evil, 1.5, 2.0, reason=evil),), evil),
        Verdict(evil, (), error=evil),
    ]
    root = ElementTree.fromstring(junit(evil, verdicts).encode())
    assert len(root.findall(".//failure")) == len(root.findall(".//error")) == 1
    assert root.find(".//script") is None
    text = markdown(evil, verdicts)
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "1.5" in line]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 7

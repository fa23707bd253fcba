"""`tinydeploy report`: from a registry to the page."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from family import BOARD, registered, variant

from tinydeploy.cli.main import cli
from tinydeploy.errors import RegistryError
from tinydeploy.registry.mlflow import MlflowRegistry


def test_a_page_from_a_registry(tmp_path: Path) -> None:
    store = MlflowRegistry(tmp_path)
    registered(store, tmp_path / "m", "float32", "int8")
    words = ["report", "family", "--registry", str(tmp_path), "-o", str(tmp_path / "r.html")]
    unchosen = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert unchosen.exit_code == 0 and f"{tmp_path / 'r.html'}: qemu-cortex-m4" in unchosen.stdout
    CliRunner().invoke(
        cli, ["select", "family", "--device", BOARD, "--registry", str(tmp_path)],
        catch_exceptions=False,
    )  # fmt: skip
    found = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    value = json.loads(found.stdout)["report"]
    (board,) = value["boards"]
    chosen = board["selection"]["chosen"]
    assert board["flash_bytes"] == 1_048_576
    (anatomy,) = value["anatomies"]
    assert anatomy["plan"].startswith("<svg") and anatomy["layers"][0]["op"]
    (line,) = value["lineage"]
    assert len(line["facts"]["model sha256"]) == len(line["facts"]["source sha256"]) == 64
    assert line["facts"]["judged on"] == (
        f"4 samples (validation), accuracy {chosen['value']:.4f} by aot"
    )
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f'<p class="chosen">{chosen["name"]}</p>' in page
    assert "lower bound" in page and 'role="img" aria-label="The arena of' in page
    store.register("unbuilt", *variant(tmp_path / "m"))
    words = ["report", "unbuilt", "--registry", str(tmp_path), "-o", str(tmp_path / "u.html")]
    unbuilt = CliRunner().invoke(cli, words)
    assert isinstance(unbuilt.exception, RegistryError)
    assert "nothing of unbuilt was built for a board" in unbuilt.exception.message
    assert not (tmp_path / "u.html").exists()


def test_an_unknown_model(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["report", "nobody", "--registry", str(tmp_path)])
    assert isinstance(found.exception, RegistryError)
    assert found.exception.hint

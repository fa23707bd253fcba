"""Fixtures for all rooms."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from servers import Server

# Machines are shared and noisy: no example fails for being slow.
settings.register_profile("tinydeploy", deadline=None)
settings.load_profile("tinydeploy")

ROOT = Path(__file__).resolve().parents[1]
ALLOWED_SKIPS = [
    line.strip()
    for line in (ROOT / "tests" / "skips.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and data that are not part of the project, or skip."""
    folder = Path(os.environ.get("TINYDEPLOY_SHARED", ROOT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip("needs ../shared (models and data that are not part of the project)")
    return folder


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    """MLflow on PostgreSQL, once a session, in a folder that PostgreSQL's user may enter."""
    from servers import postgres, server

    folder = Path(tempfile.mkdtemp(prefix="tinydeploy-server-"))
    folder.chmod(0o755)
    try:
        with postgres(folder / "postgres") as uri, server(folder / "mlflow", uri) as started:
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(
    shared_server: Server, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The server, emptied afterwards; cache and outbox of the test's own, short waiting."""
    from tinydeploy.registry.server import MlflowServer

    monkeypatch.setenv("TINYDEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield shared_server.url
    client = MlflowServer(shared_server.url).client()
    for model in list(client.search_registered_models()):
        client.delete_registered_model(model.name)
    for experiment in client.search_experiments():
        for old in client.search_runs([experiment.experiment_id]):
            client.delete_run(old.info.run_id)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which only what C compilers made is everybody's."""
    from caches import own_cache_at

    own = own_cache_at(tmp_path / "cache")
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(own))
    return own


@pytest.fixture
def tflm_stub(tmp_path: Path, root: Path) -> Path:
    """What looks like a TFLite-Micro library for dscnn_int8: see devices/data/tflm/README.md."""
    from tinydeploy.compiler.tflm import RESOLVER_METHODS
    from tinydeploy.tflite import read_graph

    graph = read_graph(root / "tests" / "models" / "dscnn_int8.tflite")
    folder = tmp_path / "tflm"
    shutil.copytree(root / "tests" / "devices" / "data" / "tflm", folder)
    sizes = {
        "kStubArenaBytes": 4096,
        "kStubSlackBytes": 0,
        "kStubInputBytes": graph.tensors[graph.inputs[0]].elements,
        "kStubOutputBytes": graph.tensors[graph.outputs[0]].elements,
        "kStubLayers": len(graph.ops),
        "kStubOps": len({op.name for op in graph.ops}),
    }
    lines = [f"constexpr std::size_t {name} = {value};" for name, value in sizes.items()]
    (folder / "stub_sizes.h").write_text("\n".join(["#pragma once", "#include <cstddef>", *lines]))
    methods = [
        f"  TfLiteStatus {method}(Registration = {{}}) {{ return Add(); }}\n"
        for method in RESOLVER_METHODS.values()
    ]
    (folder / "resolver_methods.inc").write_text("".join(methods))
    return folder


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Count and print the skips, and fail the run for a reason that is not on the list."""
    if hasattr(config, "workerinput"):
        return
    reasons = [_reason(r) for r in terminalreporter.stats.get("skipped", [])]
    for reason in sorted(set(reasons)):
        terminalreporter.write_line(f"skipped {reasons.count(reason)}: {reason}")
    if unknown := [r for r in reasons if not r.startswith(tuple(ALLOWED_SKIPS))]:
        terminalreporter.write_line(f"not in tests/skips.txt: {unknown[0]}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skip that is not on the committed list fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    reasons = [_reason(r) for r in reporter.stats.get("skipped", [])]
    if exitstatus == 0 and any(not r.startswith(tuple(ALLOWED_SKIPS)) for r in reasons):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: Any) -> str:
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")

"""Headless Chromium reaches the screens that a user needs in MLflow's UI."""

from __future__ import annotations

from pathlib import Path

import browser
import pytest

from tinydeploy.registry.mlflow import MlflowRegistry, ui_links

pytest.importorskip("playwright", reason="needs chromium and playwright")
pytestmark = pytest.mark.skipif(
    not browser.CHROMIUM.exists(), reason="needs chromium and playwright"
)


def test_the_screens_that_a_user_needs(registry: MlflowRegistry, tmp_path: Path) -> None:
    root = registry.folder.folder.parent
    browser.fill(registry, tmp_path / "work")
    with browser.ui(root) as url, browser.page() as page:
        tour = browser.Tour(page, url, registry, tmp_path)
        assert list(ui_links(root, url)) == ["fashion: boards", "fashion: charts"]
        names = tour.runs()
        assert len(names) >= 8 and all("@qemu-cortex-m" in n for n in names)
        assert {n.split()[0] for n in tour.search()} == {
            f"fashion-{v}@qemu-cortex-m4"
            for v in ("medium-int8", "medium-float32", "large-int8", "large-float32",
                      "large-int16x8")
        }  # fmt: skip
        assert tour.charts() == 3
        chosen = registry.view("fashion").aliases
        model = tour.model()
        assert "58,960 / 24,700" in model
        version = tour.version(chosen["qemu-cortex-m0"])
        assert "qemu-cortex-m0" in version and "accuracy 0.894 < 0.910" in version
        width, height = tour.plot("qemu-cortex-m4")
        assert width > 800 and height > 200
        width, height = tour.layers()
        assert width > 500 and height > 100
        card = tour.card("1")
        assert "fashion-small-float32" in card
        # Lineage: what it was made from, and judged by.
        inputs = tour.inputs("1")
        assert set(inputs) == {"fashion-small", "calibration", "validation"}
        for name, digest in inputs.items():
            assert name in card and digest in card
    for picture in ("runs", "search", "charts", "model", "version", "pareto", "layers", "card"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 10_000

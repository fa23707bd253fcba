"""The MLflow UI in headless Chromium, on a registry with the figures of the README's demo."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import family
from servers import free_port, stop, until

from tinydeploy.pipeline.select import select
from tinydeploy.registry.mlflow import MlflowRegistry, ui_command
from tinydeploy.registry.overview import link
from tinydeploy.registry.schema import KIND_DEPLOYMENT
from tinydeploy.types import Constraints

CHROMIUM = Path("/usr/bin/chromium")
# MLflow's assistant takes a third of the screen until it is closed.
_ASSISTANT = '[data-component-id="mlflow.assistant.chat_panel.close"]'
_ROWS = '[data-testid="experiment-view-table-run-color"]'
QUESTION = (
    'metrics.flash_bytes < 262144 and metrics.accuracy > 0.9 and tags."board" = "qemu-cortex-m4"'
)
WAIT_MS = 60_000

# Accuracy, and on each board flash, RAM and instructions, as `make demo` gave them.
BOARDS = {"qemu-cortex-m0": (262_144, 16_384), "qemu-cortex-m4": (1_048_576, 262_144)}
DEMO = {
    ("small", "float32"): (0.8936, (29_304, 21_320, None), (25_032, 20_484, 1_252_679)),
    ("small", "int8"): (0.8912, (21_448, 7_184, 2_152_673), (18_856, 7_692, 475_047)),
    ("small", "int16x8"): (0.8936, (19_576, 10_396, 3_965_509), (18_776, 11_076, 1_794_420)),
    ("medium", "float32"): (0.9062, (42_448, 37_048, None), (38_168, 36_220, 2_181_879)),
    ("medium", "int8"): (0.9046, (25_376, 9_744, 3_664_215), (22_936, 10_284, 735_582)),
    ("large", "float32"): (0.9284, (164_592, 48_588, None), (160_320, 47_788, 9_245_839)),
    ("large", "int8"): (0.9278, (63_296, 11_648, 12_505_020), (59_040, 12_188, 2_511_631)),
    ("large", "int16x8"): (0.9286, (59_776, 25_496, None), (58_960, 24_700, 10_118_372)),
}
# What the layers of fashion-small-int8 take on PROFILED.
PROFILED = "qemu-cortex-m4"
LAYERS = (("CONV_2D", "1x14x14x8", 247_047), ("DEPTHWISE_CONV_2D", "1x7x7x8", 128_000),
          ("FULLY_CONNECTED", "1x10", 100_000))  # fmt: skip
MIN_ACCURACY = {"qemu-cortex-m0": 0.88, "qemu-cortex-m4": 0.91}


def fill(registry: MlflowRegistry, work: Path) -> None:
    """The variants of DEMO on their boards, chosen."""
    for seed, ((source, recipe), (accuracy, *boards)) in enumerate(DEMO.items()):
        made = family.variant(work, f"fashion-{source}", recipe, seed, accuracy)
        version = registry.register("fashion", *made)
        for (board, _), (flash, ram, count) in zip(BOARDS.items(), boards, strict=True):
            built = family.build(work / board, made[1], board)
            weights = built.footprint.flash["weights"]
            footprint = dataclasses.replace(
                built.footprint, flash_bytes=flash, ram_bytes=ram,
                flash={"weights": weights, "engine_code": flash - weights},
                ram={"arena": 4_096, "io": ram - 6_144, "stack": 2_048},
            )  # fmt: skip
            built = dataclasses.replace(built, footprint=footprint)
            measured = family.measurement(built, stack_bytes=2_048)
            if count:
                measured = dataclasses.replace(measured, instructions=(count,) * 3)
            registry.record("fashion", version, built, measured if count else None)
    for board, (flash, ram) in BOARDS.items():
        limits = Constraints(
            min_metric=MIN_ACCURACY[board], board_flash_bytes=flash, board_ram_bytes=ram
        )
        candidates = registry.candidates("fashion", board)
        registry.select("fashion", select(board, candidates, limits, "flash"), limits)
    registry.publish("fashion")
    rows = [
        {
            "layer": n,
            "op": op,
            "output_shape": shape,
            "instructions": count,
            "share": count / 475_047,
        }
        for n, (op, shape, count) in enumerate(LAYERS)
    ]
    found = {
        "board": PROFILED, "unit": "instructions", "layers": rows, "whole": 475_047,
        "sum_over_whole": 1.0, "origin": {"instructions": "emulated"},
    }  # fmt: skip
    small = family.variant(work, "fashion-small", "int8", 1, 0.8912)[1]
    registry.record_profile("fashion", "2", family.build(work / PROFILED, small, PROFILED), found)


@contextlib.contextmanager
def ui(root: Path) -> Iterator[str]:
    """The UI that `tinydeploy ui` starts; its address."""
    port = free_port()
    command, environment = ui_command(root, port)
    url = f"http://127.0.0.1:{port}"
    log = root / "ui.log"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=out, stderr=out, cwd=root,
            start_new_session=True,
        )  # fmt: skip
    try:
        until(answers, process, log)
        yield url
    finally:
        stop(process)


@contextlib.contextmanager
def page(width: int = 1500, height: int = 760) -> Iterator[Any]:
    """A tab of a browser that knows no network but this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(viewport={"width": width, "height": height})
        context.route(
            lambda url: not url.startswith(("http://127.0.0.1", "data:", "blob:")),
            lambda route: route.abort(),
        )
        made = context.new_page()
        made.set_default_timeout(WAIT_MS)
        yield made
        browser.close()


class Tour:
    """The screens that a user needs; each leaves a picture if it was reached."""

    def __init__(self, page: Any, url: str, registry: MlflowRegistry, folder: Path) -> None:
        self.page, self.url, self.registry, self.folder = page, url, registry, folder
        self.experiment = registry.folder.reader.experiment_id("fashion")

    def _shoot(self, name: str) -> None:
        self.page.wait_for_timeout(700)  # what moves into its place
        self.page.screenshot(path=str(self.folder / f"{name}.png"))

    def _open(self, address: str, *words: str) -> None:
        self.page.goto(address)
        for text in words:
            self.page.get_by_text(text).first.wait_for()
        close = self.page.locator(_ASSISTANT)
        if close.count():
            close.first.click()

    def runs(self) -> list[str]:
        """The names of the runs in the list of boards, as `tinydeploy ui` links to it."""
        self._open(link(self.url, self.experiment, "boards"), "flash_bytes", "large-int8@")
        self._shoot("runs")
        return self._names()

    def search(self) -> list[str]:
        """The names of the runs that answer QUESTION, typed into the search box."""
        box = self.page.get_by_test_id("search-box")
        box.fill(QUESTION)
        box.press("Enter")
        self.page.get_by_text("5 matching runs").wait_for()
        self._shoot("search")
        return self._names()

    def _names(self) -> list[str]:
        links = self.page.locator(f'a[href*="/experiments/{self.experiment}/runs/"]')
        return [text for text in links.all_inner_texts() if "@" in text]

    def charts(self) -> int:
        """How many charts the view `charts` draws."""
        self._open(link(self.url, self.experiment, "charts"), "accuracy / cost")
        plots = self.page.locator(".js-plotly-plot .scatterlayer, .js-plotly-plot .gl-container")
        plots.first.wait_for(state="attached")
        self.page.wait_for_timeout(1500)
        self._shoot("charts")
        return int(self.page.locator(".js-plotly-plot").count())

    def model(self) -> str:
        """The page of the registered model: its description and its versions with aliases."""
        self._open(f"{self.url}/#/models/fashion", "fashion-large-int16x8")
        self._shoot("model")
        return str(self.page.locator("body").inner_text())

    def version(self, version: str) -> str:
        """The page of a version: the alias, the figures and the reasons."""
        self._open(f"{self.url}/#/models/fashion/versions/{version}", "instructions")
        self._shoot("version")
        return str(self.page.locator("body").inner_text())

    def plot(self, board: str) -> tuple[int, int]:
        """Width and height of a Pareto plot, as the browser shows it among the artifacts."""
        (run,) = self.registry.database.runs("fashion", KIND_DEPLOYMENT)
        return self._picture(run.run_id, f"pareto-{board}.svg", "pareto")

    def layers(self) -> tuple[int, int]:
        """The same of the layers of a variant on a board."""
        (record,) = [r for r in self.registry.view("fashion").records if r.profile_sha256]
        return self._picture(record.run_id, "profile/layers.svg", "layers")

    def _picture(self, run_id: str, path: str, name: str) -> tuple[int, int]:
        file = path.rpartition("/")[2]
        self._open(
            f"{self.url}/#/experiments/{self.experiment}/runs/{run_id}/artifacts/{path}", file
        )
        image = self.page.locator(f"img[alt='{file}'], img[alt='{path}']").first
        image.wait_for()
        self._shoot(name)
        size = image.evaluate("i => i.decode().then(() => [i.naturalWidth, i.naturalHeight])")
        return size[0], size[1]

    def inputs(self, version: str) -> dict[str, str]:
        """Name -> digest of what MLflow says that the run behind a version used."""
        run_id = self.registry.get("fashion", version).run_id
        with self.registry.place.locked() as client:
            inputs = client.get_run(run_id).inputs.dataset_inputs
        return {i.dataset.name: i.dataset.digest for i in inputs}

    def card(self, version: str) -> str:
        """The page of the run behind a version, which shows the model card."""
        run_id = self.registry.get("fashion", version).run_id
        self._open(f"{self.url}/#/experiments/{self.experiment}/runs/{run_id}", "accuracy")
        self._shoot("card")
        return str(self.page.locator("body").inner_text())

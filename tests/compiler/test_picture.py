from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from build_model import ModelBuilder

from tinydeploy.compiler.aot import AotCompiler

SVG = "{http://www.w3.org/2000/svg}"
NAME = 'a<b & "c" \x00'


def model(folder: Path) -> Path:
    m = ModelBuilder()
    x = m.tensor((1, 8, 8, 3), "int8", 0.5, name=NAME)
    y = m.tensor((1, 4, 4, 3), "int8", 0.5)
    z = m.tensor((1, 4, 4, 3), "int8", 1 / 256, -128)
    window = {"stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
    m.op("MAX_POOL_2D", [x], [y], padding=0, **window)
    m.op("LOGISTIC", [y], [z])
    path = folder / "model.tflite"
    path.write_bytes(m.build([x], [z]))
    return path


def test_the_picture_shows_every_block(tmp_path: Path) -> None:
    compiled = AotCompiler().compile(model(tmp_path), tmp_path / "out", standalone=True)
    picture = (tmp_path / "out" / "plan.svg").read_text()
    root = ElementTree.fromstring(picture)
    tooltips = [title.text or "" for title in root.findall(f"{SVG}rect/{SVG}title")]
    assert len(tooltips) == 2  # the input, and the pool's output with the sigmoid over it
    assert any(NAME[:-1] in tip for tip in tooltips)
    title = root.find(f"{SVG}title")
    assert title is not None and f"arena {compiled.arena_bytes:,} bytes" in (title.text or "")
    assert compiled.arena_bound_bytes == compiled.arena_bytes


def test_the_same_plan_gives_the_same_picture(tmp_path: Path) -> None:
    given = model(tmp_path)
    for name in ("a", "b"):
        AotCompiler().compile(given, tmp_path / name, standalone=True)
    assert (tmp_path / "a" / "plan.svg").read_bytes() == (tmp_path / "b" / "plan.svg").read_bytes()


def test_firmware_sources_have_no_picture(tmp_path: Path) -> None:
    AotCompiler().compile(model(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out" / "plan.svg").exists()

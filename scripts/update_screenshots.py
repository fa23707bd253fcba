"""Make the pictures of docs/images: the MLflow UI in headless Chromium.

python scripts/update_screenshots.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "helpers"))

import browser  # noqa: E402

from tinydeploy.registry.mlflow import MlflowRegistry  # noqa: E402

MOST_BYTES = 150_000
PICTURES = ("search", "charts", "version", "pareto")


def main() -> None:
    """Write PICTURES, with few colours so that they stay small."""
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        registry = MlflowRegistry(root)
        browser.fill(registry, root / "work")
        with browser.ui(root) as url, browser.page(1500, 640) as page:
            tour = browser.Tour(page, url, registry, root)
            tour.runs()
            tour.search()
            tour.charts()
            tour.version(registry.view("fashion").aliases["qemu-cortex-m0"])
            tour.plot("qemu-cortex-m4")
        for name in PICTURES:
            picture = Image.open(root / f"{name}.png").convert("RGB").quantize(96)
            path = images / f"mlflow-{name}.png"
            picture.save(path, optimize=True)
            print(f"{path.relative_to(ROOT)} {path.stat().st_size:,} B")
            if path.stat().st_size > MOST_BYTES:
                sys.exit(f"{path} is larger than {MOST_BYTES:,} B")


if __name__ == "__main__":
    main()

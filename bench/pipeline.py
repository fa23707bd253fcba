"""Time of each stage of the demo: cold, and run again with nothing changed.

    python bench/pipeline.py --json OUT

Cold means empty work, cache and registry folders; set-up is not counted. Stage seconds are summed
over calls that run side by side, so they exceed the wall time on several cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMITS_S = {"cold": 180.0, "unchanged": 10.0}


def run(folder: Path) -> dict[str, object]:
    """One deployment of the example into `folder`: wall seconds and seconds a stage."""
    environment = {**os.environ, "TINYDEPLOY_CACHE": str(folder / "cache")}
    command = [
        sys.executable, "-c", "from tinydeploy.cli.main import main; main()",
        "deploy", "--config", str(ROOT / "examples/fashion_mnist/tinydeploy.toml"),
        "--work", str(folder / "work"), "--registry", str(folder), "--json",
    ]  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"deploy failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return {"wall_s": round(wall, 2), "stages": json.loads(done.stdout)["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    out = parser.parse_args().json
    subprocess.run([sys.executable, ROOT / "examples/fashion_mnist/data.py"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        result = {name: run(Path(folder)) for name in LIMITS_S}
    for name, limit in LIMITS_S.items():
        result[name]["limit_s"] = limit
        result[name]["ratio_to_limit"] = round(result[name]["wall_s"] / limit, 3)  # type: ignore[operator]
    out.write_text(json.dumps(result, indent=2) + "\n")
    for name, figures in result.items():
        print(f"{name}: {figures['wall_s']} s, {figures['ratio_to_limit']} of the limit")
        for stage, times in figures["stages"].items():  # type: ignore[attr-defined]
            print(
                f"  {stage:10} {times['seconds']:8.2f} s in {times['calls']} calls, "
                f"{times['cached']} from the cache"
            )


if __name__ == "__main__":
    main()

"""Write what the commands print into README.md and docs/: each `$ tinydeploy …`, the demo's end.

make readme            the console blocks
python scripts/update_readme.py --demo    the demo as well (minutes)
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.S)
DEMO = re.compile(r"(<!-- demo -->\n).*?(<!-- /demo -->)", re.S)


def printed(words: list[str]) -> str:
    """Standard output of a tinydeploy command, as on a terminal of 80 columns."""
    done = subprocess.run(
        [sys.executable, "-c", "from tinydeploy.cli.main import main; main()", *words],
        cwd=ROOT, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def commands(text: str) -> list[str]:
    """The commands of a console block."""
    return re.findall(r"^\$ (tinydeploy .*)$", text, flags=re.M)


def update(match: re.Match[str]) -> str:
    """A console block with fresh output."""
    parts = [f"$ {c}\n{printed(shlex.split(c)[1:])}" for c in commands(match[2])]
    return match[1] + "\n".join(parts) + "\n" + match[3] if parts else match[0]


def demo() -> str:
    """The last lines of `make demo`: the tables of two boards that differ, and the choice."""
    config = "examples/fashion_mnist/tinydeploy.toml"
    boards = printed(["deploy", "--config", config]).split("\n\n")
    shown = [b for b in boards if b.startswith(("qemu-cortex-m0", "qemu-cortex-m4", "Selected"))]
    return "```text\n" + "\n\n".join(shown) + "\n```\n"


def main() -> None:
    """Rewrite the pages."""
    for page in (README, *sorted((ROOT / "docs").glob("*.md"))):
        text = BLOCK.sub(update, page.read_text(encoding="utf-8"))
        if page == README and "--demo" in sys.argv[1:]:
            fresh = demo()
            text = DEMO.sub(lambda m, fresh=fresh: m[1] + fresh + m[2], text)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

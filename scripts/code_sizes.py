"""Measure the code of the kernels that `size` weighs: compiler/lower/code_sizes.py.

    python scripts/code_sizes.py            # write it
    python scripts/code_sizes.py --check    # differ by a tenth from it at most?

Each function is compiled with -Os for the core that it is for (Cortex-M55 for Helium, Cortex-M3 for
cores without SIMD, else Cortex-M4) and read from the object file with binutils: its size, and which
other functions it calls or points to. Needs arm-none-eabi-gcc.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "firmware/lib/td_kernels"
TABLE = ROOT / "compiler/lower/code_sizes.py"
CORES = {"mve": "cortex-m55", "packed": "cortex-m3"}
FILES = """
td_add_* td_arithmetic td_block_* td_coded td_conv* td_depthwise* td_elementwise td_fixedpoint
td_line_* td_matmul_s8 td_packed_sums td_pool td_pool_dsp td_pool_mve td_product_* td_reduce
td_strip_conv_dsp td_taps_dsp td_vector_packed td_widen_dsp
"""
_SIZE = re.compile(
    r"^\s*\d+: \w+\s+(?P<size>\d+) FUNC\s+(?P<binding>\w+)\s+\w+\s+\d+ (?P<name>[\w.]+)$"
)
_SECTION = re.compile(r"^Relocation section '\.rel\.(?:text|rodata)\.(\w+)(?:\.\w+)?'")
_TARGET = re.compile(r"^[0-9a-f]{8}\s+[0-9a-f]{8}\s+R_ARM_\w+\s+[0-9a-f]{8}\s+(\S+)")


def measured() -> dict[str, tuple[int, tuple[str, ...]]]:
    """Bytes of each function, and the functions of ours that it needs."""
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for source in sorted({s for p in FILES.split() for s in KERNELS.glob(f"{p}.c")}):
            core = CORES.get(source.stem.rsplit("_", 1)[-1], "cortex-m4")
            out = Path(scratch) / f"{source.stem}.o"
            command = ["arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", "-std=c11", "-Os"]
            command += ["-ffp-contract=off", "-ffunction-sections", "-fdata-sections"]
            command += ["-mfloat-abi=hard"] if core == "cortex-m55" else []
            command += ["-c", str(source), "-o", str(out)]
            subprocess.run(command, check=True)
            found |= read(out)
    return reachable(found)


def read(path: Path) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Functions of an object file; those that only it sees are called FILE:NAME."""
    command = ["arm-none-eabi-readelf", "-rsW", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    needs: dict[str, set[str]] = {}
    section = ""
    for line in text.splitlines():
        if m := _SIZE.match(line):
            sizes[m["name"]] = int(m["size"])
            local = m["binding"] == "LOCAL"
            names[m["name"]] = f"{path.stem}:{m['name']}" if local else m["name"]
        elif m := _SECTION.match(line):
            section = m[1]
        elif m := _TARGET.match(line):
            needs.setdefault(section, set()).add(re.sub(r"^\.text\.", "", m[1]))
    return {
        names[n]: (size, tuple(sorted(names.get(u, u) for u in _ours(needs.get(n, set()), n))))
        for n, size in sizes.items()
    }


def _ours(used: set[str], by: str) -> set[str]:
    """Without compiler's and C's functions, which firmware has anyway, data and itself."""
    return {u for u in used if u != by and not u.startswith((".", "__", "mem"))}


def reachable(
    found: dict[str, tuple[int, tuple[str, ...]]],
) -> dict[str, tuple[int, tuple[str, ...]]]:
    """What kernels for int8 need, of all that was found."""
    waiting = [n for n in found if re.search("_(s8|dsp|mve|packed|coded)$", n)]
    kept: dict[str, tuple[int, tuple[str, ...]]] = {}
    while waiting:
        name = waiting.pop()
        if name in found and name not in kept:
            kept[name] = found[name]
            waiting += found[name][1]
    return dict(sorted(kept.items()))


def main() -> int:
    """Write the table, or compare."""
    found = measured()
    if "--check" in sys.argv:
        from tinydeploy.compiler.lower.code_sizes import CODE

        wrong = [
            f"{name}: {CODE.get(name)} in the table, {code} found"
            for name, code in found.items()
            if name not in CODE or abs(CODE[name][0] - code[0]) > 8 + code[0] / 10
        ]
        print("\n".join(wrong) or f"{len(found)} functions as in the table")
        return 1 if wrong else 0
    lines = [f'    "{n}": ({size}, {used!r}),' for n, (size, used) in found.items()]
    TABLE.write_text(
        '"""Code of kernels with -Os, in bytes, and what they call: scripts/code_sizes.py."""\n\n'
        "from __future__ import annotations\n\n"
        "CODE: dict[str, tuple[int, tuple[str, ...]]] = {\n" + "\n".join(lines) + "\n}\n"
    )
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(TABLE)], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

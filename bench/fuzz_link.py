"""Fuzz both parsers of the serial protocol: the firmware's in C, the host's in Python.

    python bench/fuzz_link.py --seconds 600 [--side firmware|host|both] [--keep DIR] [--json OUT]

The firmware's side is `fuzz_link.c`, guided by coverage, under AddressSanitizer and
UndefinedBehaviorSanitizer. The host's side feeds mutated answers to the parser and to whole
sessions: nothing but errors of our own may come out, and a session whose answers were damaged
without their CRC set right again must give the right output or an error. Both begin with the seeds
in `tests/data/link`; `--keep` writes what found new code to a folder.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tinydeploy.devices import protocol
from tinydeploy.devices.link import Link
from tinydeploy.devices.session import Session
from tinydeploy.errors import TinydeployError
from tinydeploy.store import write_json

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "tests" / "data" / "link"
TOY = ROOT / "tests" / "devices" / "data" / "toy_model"
DATA = b"\x01\x02\x03\x04"
IDENTITY = (
    f"protocol={protocol.VERSION} firmware=0.1.0 board=b engine=aot build={'1' * 64} "
    f"model={'2' * 64} name=toy caps=time,energy line=80 window=4 chunk=24 in=int8:4 out=int8:4"
)


# ---------------------------------------------------------------- the firmware's side
def build_driver(folder: Path) -> Path:
    """Compile `fuzz_link.c` and the protocol's sources; the program."""
    sources = ROOT / "firmware" / "lib" / "td_link"
    flags = ["-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags += [f"-I{ROOT}/firmware/include", f"-I{sources}", f"-I{TOY}"]
    objects = []
    for source in sorted(sources.glob("*.c")):
        objects.append(folder / f"{source.stem}.o")
        coverage = ["-fsanitize-coverage=trace-pc", "-c", source, "-o", objects[-1]]
        subprocess.run(["cc", *flags, *coverage], check=True)
    driver = folder / "fuzz_link"
    source = ROOT / "bench" / "fuzz_link.c"
    subprocess.run(["cc", *flags, source, *objects, "-o", driver], check=True)
    return driver


def fuzz_firmware(seconds: int, seed: int, keep: Path | None) -> dict[str, object]:
    """Run the driver. Raises CalledProcessError if it finds something (see crash.bin)."""
    with tempfile.TemporaryDirectory() as scratch:
        driver = build_driver(Path(scratch))
        seeds = sorted((SEEDS / "commands").glob("*.bin"))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        command = [driver, str(seconds), str(seed), str(keep or "-"), *seeds]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    cases, edges, corpus = map(int, re.findall(r"\d+", done.stdout))
    return {"cases": cases, "edges": edges, "corpus": corpus}


# ---------------------------------------------------------------- the host's side
def mutate(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """A few random changes."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randrange(1, 8)]
        elif kind == 2:
            out[at:at] = bytes([rng.randrange(256)])
        elif kind == 3:
            words = (
                b"td ",
                b" ok",
                b" err ",
                b"=",
                b"\r\n",
                b"-",
                b"%",
                b"!FAULT ",
                b"99999999999",
            )
            out[at:at] = rng.choice(words)
        elif kind == 4:
            out[at:at] = rng.choice(corpus)
        else:
            out[at:at] = out[at : at + rng.randrange(1, 40)]
    return bytes(out)


def mend(data: bytes) -> bytes:
    """Give what looks like an answer or a crash report the CRC that it should have."""
    return re.sub(
        rb"((?:td |!FAULT)[^\r\n]*) [0-9a-f]{8}(?=\r?\n)", lambda m: protocol.frame(m[1]), data
    )


class Device:
    """A port behind which a device answers, now and then with something else."""

    def __init__(self, rng: random.Random, corpus: list[bytes], rate: float, mended: bool) -> None:
        self._rng, self._corpus, self._rate, self._mended = rng, corpus, rate, mended
        self._line = b""
        self._input = bytearray(4)
        self._says = b""
        self._left = 400  # a device that only confuses ends like one that was unplugged

    def write(self, data: bytes) -> None:
        *whole, self._line = (self._line + data).split(b"%")
        for command in whole:
            said = self._answer(command)
            if self._rng.random() < self._rate:
                said = mutate(self._rng, said, self._corpus)
                said = mend(said) if self._mended else said
            self._says += said

    def read(self, timeout_s: float) -> bytes:
        self._left -= 1
        if self._left < 0 or not self._says:
            raise OSError("unplugged")
        cut = self._rng.randrange(1, len(self._says) + 1)
        says, self._says = self._says[:cut], self._says[cut:]
        return says

    def close(self) -> None:
        pass

    def _answer(self, command: bytes) -> bytes:
        words = command.split(b" ")
        if len(words) < 3:
            return b"m-ready\r\n"
        seq, name = words[1], words[2]
        text = b"err -3 unknown"
        if name == b"id":
            text = b"ok " + IDENTITY.encode()
        elif name == b"load":
            self._input[:] = DATA
            text = b"ok at=0 n=4"
        elif name == b"infer":
            crc = protocol.crc32(bytes(self._input))
            text = b"ok n=1 us=7 nj=2500 crc=%08x out=%s" % (crc, self._input.hex().encode())
        return protocol.frame(b"td " + seq + b" " + text) + b"\r\n"


def host_case(rng: random.Random, corpus: list[bytes]) -> None:
    """One mutated line through the parser, and one session. Raises whatever is a finding."""
    stream = mutate(rng, rng.choice(corpus), corpus)
    if rng.random() < 0.5:
        stream = mend(stream)
    for line in stream.split(b"\n"):
        parse(line.strip(b"\r"))
    mended = rng.random() < 0.5
    device = Device(rng, corpus, rng.choice((0.05, 0.3, 1.0)), mended)
    try:
        talk = Session(Link(device, "fuzz"), timeout_s=0.01, infer_timeout_s=0.01)
        if talk.identify().input_bytes != len(DATA):
            return  # a lie with a right CRC: another model, which `measure` refuses
        result = talk.infer(DATA)
    except TinydeployError as e:
        if not e.message:
            raise AssertionError("an error without a message") from e
        return
    if not mended and (result.outputs != (DATA,) or result.device_us != 7):
        raise AssertionError(f"a wrong result: {result}")


def parse(line: bytes) -> None:
    """One line through all decoders: errors of our own only, and answers with a right CRC only."""
    protocol.decode_fault(line)
    protocol.is_damaged(line)
    answer = protocol.decode_answer(line)
    if answer is None:
        return
    body, _, crc = line.rpartition(b" ")
    starts = [at for at in range(len(body)) if body.startswith(b"td ", at)]
    if not any(protocol.crc32(body[at:]) == int(crc, 16) for at in starts):
        raise AssertionError(f"a damaged line was taken for an answer: {line!r}")
    try:
        protocol.decode_identity(answer)
        answer.numbers("us")
    except TinydeployError:
        pass


def fuzz_host(seconds: float, seed: int) -> dict[str, object]:
    """Random cases until the time is over; a finding is raised, with its seed in the message."""
    corpus = [path.read_bytes() for path in sorted((SEEDS / "answers").glob("*.bin"))]
    end = time.monotonic() + seconds
    cases = 0
    while time.monotonic() < end:
        number = seed * 1_000_000_007 + cases
        try:
            host_case(random.Random(number), corpus)
        except Exception as e:
            raise SystemExit(f"finding in the host's case {number}: {e!r}") from e
        cases += 1
    return {"cases": cases}


def main() -> None:
    """Run both sides side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--side", choices=["firmware", "host", "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    failed: list[str] = []

    def firmware() -> None:
        try:
            found["firmware"] = fuzz_firmware(options.seconds, options.seed, options.keep)
        except subprocess.CalledProcessError as e:
            failed.append(f"finding in the firmware:\n{e.stderr}")

    threads = [threading.Thread(target=firmware)] if options.side != "host" else []
    for thread in threads:
        thread.start()
    if options.side != "firmware":
        found["host"] = fuzz_host(options.seconds, options.seed)
    for thread in threads:
        thread.join()
    for side, figures in found.items():
        figures |= {"seconds": options.seconds, "findings": 0}
        rate = int(str(figures["cases"])) / options.seconds
        print(f"{side}: {figures['cases']:,} cases, {rate:,.0f} a second, nothing found")
    if options.json:
        write_json(options.json, found)
    if failed:
        print(*failed, sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

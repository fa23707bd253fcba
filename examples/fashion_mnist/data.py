"""Fashion-MNIST as the `.npz` files that the example deploys with.

Reads the idx files of the Debian package `dataset-fashion-mnist` (or any folder that holds them)
and writes `calibration.npz`, `validation.npz` and `test.npz`, each with `x` (N, 28, 28, 1) uint8,
`y` (N,) uint8 and `names`. The 60,000 training images are split by position:

    0 ... 53,999   training      what train.py learns from
    54,000 ...     validation    5,000: variants are chosen on these
    59,000 ...     calibration   1,000: the first CALIBRATION_SAMPLES of these set the ranges

The 10,000 test images are for the final figure only.
"""

from __future__ import annotations

import argparse
import gzip
import struct
import sys
from pathlib import Path

import numpy as np

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NAMES = (
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
TRAINING = slice(0, 54_000)
VALIDATION = slice(54_000, 59_000)
CALIBRATION_SAMPLES = 300
CALIBRATION = slice(59_000, 59_000 + CALIBRATION_SAMPLES)

_IDX_UBYTE = 0x08


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped idx file of unsigned bytes.

    Format (http://yann.lecun.com/exdb/mnist): two zero bytes, element type, number of dimensions,
    each dimension as a big-endian 32-bit number, then the elements.
    Raises ValueError if the file is something else or does not hold what its header says.
    """
    with gzip.open(path, "rb") as f:
        raw = f.read()
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _IDX_UBYTE or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(f"{path} is not an idx file of unsigned bytes")
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if data.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path} holds {data.size} elements, its header says {shape}")
    return data.reshape(shape)


def load(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28, 1) uint8 and labels (N,) uint8 of `part`, "train" or "t10k"."""
    x = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    y = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    if x.shape[1:] != (28, 28) or len(x) != len(y):
        raise ValueError(f"{folder} holds images {x.shape} and labels {y.shape} for {part!r}")
    return x[..., np.newaxis], y


def write_splits(folder: Path, out: Path) -> None:
    """Write the three `.npz` files to `out`. Uncompressed: quick to make and quick to read."""
    out.mkdir(parents=True, exist_ok=True)
    x, y = load(folder, "train")
    names = np.array(NAMES)
    np.savez(out / "calibration.npz", x=x[CALIBRATION], y=y[CALIBRATION], names=names)
    np.savez(out / "validation.npz", x=x[VALIDATION], y=y[VALIDATION], names=names)
    x, y = load(folder, "t10k")
    np.savez(out / "test.npz", x=x, y=y, names=names)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the .npz files of the example.")
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the idx files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    args = parser.parse_args()
    try:
        write_splits(args.data, args.out)
    except FileNotFoundError as e:
        print(f"{e.filename} is missing: apt-get install dataset-fashion-mnist", file=sys.stderr)
        return 2
    except (OSError, ValueError, EOFError) as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

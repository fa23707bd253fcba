"""Models of other families than MLPerf Tiny's, for bench/engine.py: all int8.

A MobileNetV1 for 96x96 images with random weights, the LSTM and the SVDF model of TFLite-Micro's
examples (from `../shared`), and single layers of usual shapes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinydeploy.store import cache_dir, sha256_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests/compiler"))

from build_model import PADDING, ModelBuilder

_MOBILENET = """
import sys
import numpy as np
import keras
keras.utils.set_random_seed(1)
net = keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=2)
rng = np.random.default_rng(1)
for layer in net.layers:  # random weights that keep the signal's size
    values = layer.get_weights()
    if values and values[0].ndim == 4:
        inputs = values[0].shape[:2] if "dw" in layer.name else values[0].shape[:3]
        values[0] = rng.normal(0, np.sqrt(2 / np.prod(inputs)), values[0].shape)
        layer.set_weights(values)
net.save(sys.argv[1])
images = np.random.default_rng(1).uniform(-1, 1, (32, 96, 96, 3)).astype(np.float32)
np.savez(sys.argv[2], x=images)
"""


def family_models(shared: Path) -> dict[str, Path]:
    """The models by the name that the tables show; those that are not there are left out."""
    found = {"mobilenet": _mobilenet()}
    for name, file in (("lstm", "trained_lstm_int8"), ("svdf", "keyword_scrambled_8bit")):
        path = shared / "models" / "tflm" / f"{file}.tflite"
        if path.is_file():
            found[name] = path
    return found | _layers()


def _mobilenet() -> Path:
    """MobileNetV1 0.25, as in visual wake words: built and converted once, then in the cache."""
    out = cache_dir() / "bench" / f"mobilenet-{sha256_file(Path(__file__))[:16]}"
    path = out / "net-int8.tflite"
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        net, images = out / "net.keras", out / "images.npz"
        subprocess.run([sys.executable, "-c", _MOBILENET, net, images], check=True)
        command = [
            *(sys.executable, "-c", "from tinydeploy.cli.main import main; main()"),
            *("convert", str(net), "--recipe", "int8", "--out", str(out)),
            *("--calibration", str(images)),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def _layers() -> dict[str, Path]:
    folder = cache_dir() / "bench" / f"layers-{sha256_file(Path(__file__))[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, make in _LAYERS.items():
        path = folder / f"{name}.tflite"
        path.write_bytes(make())
        found[f"layer_{name}"] = path
    return found


class _Layer:
    """One layer of int8 with random weights, whose outputs spread over their range."""

    def __init__(self) -> None:
        self.model = ModelBuilder()
        self.rng = np.random.default_rng(1)

    def tensor(self, *shape: int) -> int:
        return self.model.tensor((1, *shape), "int8", 0.05, -3)

    def product(
        self,
        name: str,
        given: tuple[int, ...],
        weights: tuple[int, ...],
        out: tuple[int, ...],
        dimension: int = 0,
        **options: int,
    ) -> bytes:
        """A layer with weights and biases."""
        x, channels = self.tensor(*given), out[-1]
        count = 1 if name == "FULLY_CONNECTED" else channels
        scales = self.rng.uniform(0.001, 0.003, count).astype(np.float32)
        values = self.rng.integers(-127, 128, weights).astype(np.int8)
        w = self.model.tensor(weights, "int8", scales, 0, values, quantized_dimension=dimension)
        sums = self.rng.integers(-999, 999, channels).astype(np.int32)
        b = self.model.tensor((channels,), "int32", scales * np.float32(0.05), 0, sums)
        depth = values.size / channels
        scale = float(0.05 * scales.mean() * values.std() * 1.5 * np.sqrt(depth))
        y = self.model.tensor((1, *out), "int8", scale, 5)
        self.model.op(name, [x, w, b], [y], **options)
        return self.model.build([x], [y])

    def window(
        self, size: int, c: int, k: int, channels: int = 0, stride: int = 1, dilation: int = 1
    ) -> bytes:
        """A square CONV_2D, or without channels a DEPTHWISE_CONV_2D."""
        options = {"padding": PADDING["SAME"], "stride_h": stride, "stride_w": stride}
        options |= {"dilation_h_factor": dilation, "dilation_w_factor": dilation}
        given, out = (size, size, c), -(-size // stride)
        if channels:
            shape = (channels, k, k, c)
            return self.product("CONV_2D", given, shape, (out, out, channels), **options)
        options |= {"depth_multiplier": 1}
        return self.product("DEPTHWISE_CONV_2D", given, (1, k, k, c), (out, out, c), 3, **options)

    def dense(self, depth: int, channels: int) -> bytes:
        """A FULLY_CONNECTED layer."""
        return self.product("FULLY_CONNECTED", (depth,), (channels, depth), (channels,))

    def add(self, size: int, c: int) -> bytes:
        """ADD of two images."""
        a, b = self.tensor(size, size, c), self.tensor(size, size, c)
        y = self.model.tensor((1, size, size, c), "int8", 0.08, 5)
        self.model.op("ADD", [a, b], [y])
        return self.model.build([a, b], [y])

    def pool(self, name: str, size: int, c: int) -> bytes:
        """A pool of 2x2."""
        x = self.tensor(size, size, c)
        y = self.tensor(size // 2, size // 2, c)
        sizes = {f"{what}_{d}": 2 for what in ("stride", "filter") for d in ("h", "w")}
        sizes = {k.replace("filter_h", "filter_height"): v for k, v in sizes.items()}
        sizes = {k.replace("filter_w", "filter_width"): v for k, v in sizes.items()}
        self.model.op(name, [x], [y], padding=PADDING["VALID"], **sizes)
        return self.model.build([x], [y])

    def softmax(self, classes: int) -> bytes:
        """SOFTMAX."""
        x = self.tensor(classes)
        y = self.model.tensor((1, classes), "int8", 1 / 256, -128)
        self.model.op("SOFTMAX", [x], [y], beta=1.0)
        return self.model.build([x], [y])


_LAYERS: dict[str, Callable[[], bytes]] = {
    "conv_3x3": lambda: _Layer().window(16, 32, 3, 32),
    "conv_3x3_first": lambda: _Layer().window(48, 3, 3, 8, stride=2),
    "conv_5x5_stride_2": lambda: _Layer().window(16, 16, 5, 24, stride=2),
    "conv_3x3_dilated": lambda: _Layer().window(16, 16, 3, 16, dilation=2),
    "conv_1x1": lambda: _Layer().window(12, 64, 1, 64),
    "depthwise_3x3": lambda: _Layer().window(24, 32, 3),
    "depthwise_3x3_stride_2": lambda: _Layer().window(24, 32, 3, stride=2),
    "depthwise_5x5": lambda: _Layer().window(16, 32, 5),
    "dense_640_128": lambda: _Layer().dense(640, 128),
    "dense_64_10": lambda: _Layer().dense(64, 10),
    "add": lambda: _Layer().add(16, 32),
    "average_pool": lambda: _Layer().pool("AVERAGE_POOL_2D", 16, 32),
    "max_pool": lambda: _Layer().pool("MAX_POOL_2D", 16, 32),
    "softmax": lambda: _Layer().softmax(12),
}

"""Every operator against TFLite-Micro, over random shapes, windows, scales and zero points."""

from __future__ import annotations

from pathlib import Path

import pytest
from comparing import assert_same, random_inputs
from random_layers import LAYERS, LayerMaker


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("layer", LAYERS)
def test_random_layers(layer: str, dtype: str, tmp_path: Path) -> None:
    seed = sum(map(ord, layer + dtype))
    model = tmp_path / "model.tflite"
    model.write_bytes(LayerMaker(seed, dtype).build(LAYERS[layer], 12))
    assert_same(model, random_inputs(model, 8, seed))

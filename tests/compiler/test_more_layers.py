"""The operators beside those of test_layers.py against TFLite-Micro, in every type it has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from comparing import assert_same, random_inputs
from more_layers import MORE_LAYERS
from random_layers import Layer, LayerMaker

DTYPES = ("int8", "int16", "float32", "int32", "bool")
OPERATORS_A_MODEL = 8


def groups() -> list[tuple[str, tuple[str, ...]]]:
    """Operators that share a model, since each model is compiled."""
    found = []
    for dtype in DTYPES:
        names = [n for n, (_, types) in MORE_LAYERS.items() if dtype in types]
        for i in range(0, len(names), OPERATORS_A_MODEL):
            found.append((dtype, tuple(names[i : i + OPERATORS_A_MODEL])))
    return found


@pytest.mark.parametrize(
    ("dtype", "names"), groups(), ids=lambda part: part if isinstance(part, str) else part[0]
)
def test_random_layers(dtype: str, names: tuple[str, ...], tmp_path: Path) -> None:
    seed = sum(map(ord, dtype + names[0]))
    maker = LayerMaker(seed, dtype)
    remaining = [name for name in names for _ in range(10)]

    def next_layer(maker: LayerMaker) -> Layer:
        name = remaining.pop()
        return MORE_LAYERS[name][0](maker, name)

    model = tmp_path / "model.tflite"
    model.write_bytes(maker.build(next_layer, len(remaining)))
    assert_same(model, random_inputs(model, 8, seed))

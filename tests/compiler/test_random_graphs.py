"""Random graphs against TFLite-Micro: lifetimes, views, writing in place, several outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import assert_same, random_inputs
from random_graphs import GraphMaker

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.tflite import expose_intermediates


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("seed", range(4))
def test_random_graphs(seed: int, dtype: str, tmp_path: Path) -> None:
    """The planned arena gives what TFLite-Micro gives, and what no sharing of memory gives."""
    model = tmp_path / "model.tflite"
    model.write_bytes(GraphMaker(seed, dtype).build(12 + 4 * seed))
    inputs = random_inputs(model, 5, seed)
    assert_same(model, inputs)
    exposed = tmp_path / "exposed.tflite"
    exposed.write_bytes(expose_intermediates(model.read_bytes()))
    apart = AotCompiler().native(exposed).predict(inputs)
    together = AotCompiler().native(model).predict(inputs)
    for a, b in zip(together, apart, strict=False):
        np.testing.assert_array_equal(a, b)

"""Whole models against TFLite-Micro, outputs and every intermediate tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import assert_same, exposed, random_inputs

from tinydeploy.compiler.aot import AotCompiler

MODELS = Path(__file__).parents[1] / "models"
MLPERF_TINY = [
    "kws_ref_model",
    "pretrainedResnet_quant",
    "ad01_int8",
    "str_ww_ref_model",
    "pretrainedResnet",
    "ad01_fp32",
]


@pytest.mark.parametrize("name", sorted(p.stem for p in MODELS.glob("*.tflite")))
def test_small_models(name: str, tmp_path: Path) -> None:
    model = exposed(MODELS / f"{name}.tflite", tmp_path)
    assert_same(model, random_inputs(model, 20))


@pytest.mark.shared
@pytest.mark.parametrize("name", MLPERF_TINY)
def test_mlperf_tiny(name: str, shared: Path, tmp_path: Path) -> None:
    """The planned arena and the one in which nothing may be overwritten give the same outputs."""
    model = shared / "models" / "mlperf_tiny" / f"{name}.tflite"
    inputs = random_inputs(model, 20)
    copy = exposed(model, tmp_path)
    assert_same(copy, inputs)
    compiler = AotCompiler()
    kept = compiler.native(copy).predict(inputs)
    for ours, all_kept in zip(compiler.native(model).predict(inputs), kept, strict=False):
        np.testing.assert_array_equal(ours, all_kept)


@pytest.mark.shared
def test_keyword_spotting_on_real_inputs(shared: Path, tmp_path: Path) -> None:
    model = shared / "models" / "mlperf_tiny" / "kws_ref_model.tflite"
    data = np.load(shared / "data" / "kws01.npz")
    assert_same(exposed(model, tmp_path), [data["x"][:100]])
    outputs = AotCompiler().native(model).predict([data["x"]])[0]
    assert int((outputs.argmax(axis=1) == data["y"]).sum()) == 901


@pytest.mark.shared
@pytest.mark.parametrize("name", ["hello_world_float", "hello_world_int8", "simple_add_model"])
def test_tflite_micro_examples(name: str, shared: Path) -> None:
    model = shared / "models" / "tflm" / f"{name}.tflite"
    assert_same(model, random_inputs(model, 10))


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["keyword_scrambled_8bit", "micro_speech_quantized", "trained_lstm_int8"]
)
def test_tflite_micro_models(name: str, shared: Path, tmp_path: Path) -> None:
    """SVDF and an int8 SOFTMAX to int16; a depthwise convolution of one channel; an LSTM.

    Ten inputs one after another, so that state counts.
    """
    model = shared / "models" / "tflm" / f"{name}.tflite"
    assert_same(exposed(model, tmp_path), random_inputs(model, 10))
    assert_same(model, random_inputs(model, 10))

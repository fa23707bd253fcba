"""What `inspect` says of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.inspect import inspect
from tinydeploy.types import to_json


def test_layers_add_up_to_the_model(root: Path) -> None:
    found = inspect(root / "tests" / "models" / "resnet_int8.tflite")
    assert found.macs == sum(layer.macs for layer in found.layers) == 118_550
    assert found.weight_bytes == sum(layer.weight_bytes for layer in found.layers)
    assert sum(found.ops.values()) == len(found.layers)
    assert found.ops["CONV_2D"] == 6 and found.ops["ADD"] == 2
    first = found.layers[0]
    # 6 filters of 3x3x3 and a bias of 4 bytes each; 10x10x3 in, 10x10x6 out.
    assert first.weight_bytes == 6 * 3 * 3 * 3 + 6 * 4
    assert first.activation_bytes == 10 * 10 * 3 + 10 * 10 * 6
    assert first.macs == 10 * 10 * 6 * 3 * 3 * 3
    assert found.tflm_arena_bytes is not None
    assert found.tflm_arena_head_bytes is not None and found.tflm_arena_tail_bytes is not None
    assert found.tflm_arena_bytes == found.tflm_arena_head_bytes + found.tflm_arena_tail_bytes
    assert found.tflm_arena_origin == "host 64-bit" and found.tflm_refusal == ""


def test_both_inputs_and_broadcasts_are_described(root: Path) -> None:
    found = inspect(root / "tests" / "models" / "two_inputs_float32.tflite")
    assert {io.shape for io in found.inputs} == {(1, 6, 6, 2), (1, 8)}
    assert all(io.scale is None and io.dtype == "float32" for io in found.inputs)
    (add,) = [layer for layer in found.layers if layer.op == "ADD" and len(layer.input_shapes) == 2]
    assert add.activation_bytes == 4 * (8 + 8 + 8)


def test_json_has_the_keys_scripts_rely_on(root: Path) -> None:
    found = to_json(inspect(root / "tests" / "models" / "dscnn_int8.tflite"))
    assert {"macs", "ops", "weight_bytes", "tflm_arena_bytes", "layers"} <= set(found)
    assert found["inputs"][0]["dtype"] == "int8" and found["inputs"][0]["scale"] > 0


def test_a_model_that_tflm_refuses_is_still_inspected(root: Path, tmp_path: Path) -> None:
    """An op that TFLite-Micro does not have: same file, another builtin code."""
    import ai_edge_litert.schema_py_generated as schema
    import flatbuffers

    content = (root / "tests" / "models" / "autoencoder_float32.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.HASHTABLE_SIZE
    model.operatorCodes[0].deprecatedBuiltinCode = 127
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(builder.Output())
    found = inspect(changed)
    assert found.tflm_arena_bytes is None and found.tflm_arena_origin is None
    assert "HASHTABLE_SIZE" in found.tflm_refusal
    assert found.ops == {"HASHTABLE_SIZE": 6}


def test_what_cannot_be_read_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        inspect(tmp_path / "absent.tflite")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes((root / "tests" / "models" / "dscnn_int8.tflite").read_bytes()[:3_000])
    with pytest.raises(UnsupportedModelError):
        inspect(damaged)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "macs", "arena"),
    [
        ("kws_ref_model", 2_656_768, 24_272),
        ("pretrainedResnet_quant", 12_501_632, 55_984),
        ("ad01_int8", 264_192, 3_984),
        ("str_ww_ref_model", 826_368, 16_640),
    ],
)
def test_mlperf_tiny(shared: Path, name: str, macs: int, arena: int) -> None:
    found = inspect(shared / "models" / "mlperf_tiny" / f"{name}.tflite")
    assert (found.macs, found.tflm_arena_bytes) == (macs, arena)

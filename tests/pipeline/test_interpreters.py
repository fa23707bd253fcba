"""The reference interpreters, in their worker processes."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.errors import TinydeployError, UnsupportedModelError, UsageError
from tinydeploy.pipeline import interpreters
from tinydeploy.pipeline.interpreters import LiteRt, TfliteMicro, tflm_arena

ARENAS = {
    "kws_ref_model": (24_272, 16_000, 8_272),
    "pretrainedResnet_quant": (55_984, 49_152, 6_832),
    "ad01_int8": (3_984, 768, 3_216),
    "str_ww_ref_model": (16_640, 6_656, 9_984),
}


@pytest.fixture(scope="module")
def models(root: Path) -> Path:
    return root / "tests" / "models"


def samples(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, n: int) -> np.ndarray:
    if dtype == "float32":
        return rng.normal(0, 1.5, (n, *shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, (n, *shape)).astype(dtype)


@pytest.mark.parametrize("recipe", ["float32", "int8", "int16x8"])
def test_interpreters_agree_within_their_known_differences(models: Path, recipe: str) -> None:
    model = models / f"branches_{recipe}.tflite"
    rng = np.random.default_rng(1)
    with TfliteMicro(model) as tflm, LiteRt(model, reference=True) as litert:
        assert tflm.inputs == litert.inputs and tflm.outputs == litert.outputs
        inputs = [samples(rng, shape, dtype, 8) for shape, dtype in tflm.inputs]
        for a, b in zip(tflm.predict(inputs), litert.predict(inputs), strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            if recipe == "float32":
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
            else:
                assert np.abs(a.astype(np.int64) - b).max() <= (1 if recipe == "int8" else 4)


def test_samples_are_independent_and_in_order(models: Path) -> None:
    rng = np.random.default_rng(2)
    with TfliteMicro(models / "two_inputs_int8.tflite") as tflm:
        inputs = [samples(rng, shape, dtype, 5) for shape, dtype in tflm.inputs]
        (together,) = tflm.predict(inputs)
        single = [tflm.predict([x[n : n + 1] for x in inputs])[0] for n in (4, 0, 3)]
    np.testing.assert_array_equal(together[[4, 0, 3]], np.concatenate(single))
    assert len(np.unique(together, axis=0)) > 1


def test_no_samples_give_no_outputs(models: Path) -> None:
    with TfliteMicro(models / "dscnn_int8.tflite") as tflm:
        (y,) = tflm.predict([np.empty((0, 20, 10, 1), np.int8)])
    assert y.shape == (0, 6) and y.dtype == np.int8


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [np.zeros((1, 20, 10, 1), np.uint8)],
        [np.zeros((1, 20, 10), np.int8)],
        [np.zeros((1, 20, 10, 1), np.int8)] * 2,
    ],
)
def test_wrong_arrays_are_usage_errors(models: Path, wrong: list[np.ndarray]) -> None:
    with TfliteMicro(models / "dscnn_int8.tflite") as tflm, pytest.raises(UsageError) as error:
        tflm.predict(wrong)
    assert error.value.hint


def test_different_numbers_of_samples_are_a_usage_error(models: Path) -> None:
    with (
        TfliteMicro(models / "two_inputs_int8.tflite") as tflm,
        pytest.raises(UsageError, match="different numbers"),
    ):
        tflm.predict([np.zeros((n, *s), d) for n, (s, d) in zip((2, 3), tflm.inputs, strict=True)])


def test_a_closed_interpreter_says_so(models: Path) -> None:
    tflm = TfliteMicro(models / "dscnn_int8.tflite")
    tflm.close()
    tflm.close()
    with pytest.raises(UsageError, match="closed"):
        tflm.predict([np.zeros((1, 20, 10, 1), np.int8)])


def test_the_process_ends_with_its_object(models: Path) -> None:
    tflm = TfliteMicro(models / "dscnn_int8.tflite")
    process = tflm._worker.process
    assert process.poll() is None
    del tflm
    gc.collect()
    assert process.poll() is not None


@pytest.mark.parametrize("name", ["dscnn_int8", "branches_int16x8"])
def test_the_measured_arena_is_enough_and_less_is_refused(models: Path, name: str) -> None:
    """In the second model temporary structs need more than the total that is reported."""
    model = models / f"{name}.tflite"
    arena = tflm_arena(model)
    assert arena["total"] == arena["head"] + arena["tail"]
    assert arena["origin"] == "host 64-bit"
    assert (arena["sufficient"] > arena["total"]) == (name == "branches_int16x8")
    with TfliteMicro(model, arena["sufficient"]) as exact, TfliteMicro(model) as free:
        zeros = [np.zeros((1, *shape), dtype) for shape, dtype in free.inputs]
        np.testing.assert_array_equal(exact.predict(zeros)[0], free.predict(zeros)[0])
    with pytest.raises(UnsupportedModelError, match=r"Failed to|Too many buffers") as error:
        TfliteMicro(model, arena["sufficient"] - 256)
    assert "arena is too small" in error.value.hint


def test_a_crash_becomes_an_error(models: Path) -> None:
    """An arena of a few bytes ends TFLite-Micro's process."""
    with pytest.raises(UnsupportedModelError, match="SIGSEGV"):
        TfliteMicro(models / "dscnn_int8.tflite", 10)


def test_the_arena_grows_until_the_model_allocates(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreters, "ARENA_ATTEMPTS_BYTES", (10, 2_000, 100_000))
    with TfliteMicro(models / "dscnn_int8.tflite") as tflm:
        total = tflm.arena()["total"]
    assert 2_000 < total < 100_000


def test_a_dead_worker_is_reported(models: Path) -> None:
    with TfliteMicro(models / "dscnn_int8.tflite") as tflm:
        tflm._worker.process.kill()
        with pytest.raises(TinydeployError, match="SIGKILL"):
            tflm.predict([np.zeros((1, 20, 10, 1), np.int8)])


def test_a_hanging_worker_is_ended(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TfliteMicro(models / "dscnn_int8.tflite") as tflm:
        monkeypatch.setattr(interpreters, "PREDICT_TIMEOUT_S", 0.01)
        with pytest.raises(TinydeployError, match="no answer within"):
            tflm.predict([np.zeros((100_000, 20, 10, 1), np.int8)])
        assert tflm._worker.process.poll() is not None


@pytest.mark.parametrize("engine", [LiteRt, TfliteMicro])
@pytest.mark.parametrize("kept", [0, 5_000])
def test_truncated_models_are_refused(
    models: Path, tmp_path: Path, engine: type[LiteRt] | type[TfliteMicro], kept: int
) -> None:
    model = tmp_path / "truncated.tflite"
    model.write_bytes((models / "dscnn_int8.tflite").read_bytes()[:kept])
    with pytest.raises(UnsupportedModelError, match=r"refuses truncated.tflite") as error:
        engine(model)
    assert error.value.hint


@pytest.mark.parametrize("engine", [LiteRt, TfliteMicro])
def test_damaged_models_run_or_are_refused(
    models: Path, tmp_path: Path, engine: type[LiteRt] | type[TfliteMicro]
) -> None:
    """Both interpreters crash on some of these; this process sees errors of ours only."""
    content = (models / "two_inputs_int8.tflite").read_bytes()
    rng = np.random.default_rng(5)
    model = tmp_path / "damaged.tflite"
    refused = 0
    for _ in range(6):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(0, len(damaged), 3)] = rng.integers(0, 256, 3)
        model.write_bytes(damaged.tobytes())
        try:
            with engine(model) as interpreter:
                zeros = [np.zeros((1, *s), d) for s, d in interpreter.inputs]
                assert len(interpreter.predict(zeros)) == len(interpreter.outputs)
        except TinydeployError as error:
            assert error.hint
            refused += 1
    assert refused > 0


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        LiteRt(tmp_path / "absent.tflite")


@pytest.mark.shared
@pytest.mark.parametrize("name", ARENAS)
def test_arenas_of_mlperf_tiny(shared: Path, name: str) -> None:
    arena = tflm_arena(shared / "models" / "mlperf_tiny" / f"{name}.tflite")
    assert (arena["total"], arena["head"], arena["tail"]) == ARENAS[name]


@pytest.mark.shared
def test_dynamic_range_models_are_refused_by_tflm(shared: Path) -> None:
    """This file's weights are int8, its activations float."""
    with pytest.raises(UnsupportedModelError, match="Hybrid models are not supported"):
        TfliteMicro(shared / "models" / "mlperf_tiny" / "kws_ref_model_float32.tflite")


@pytest.mark.shared
def test_keyword_spotting_accuracies(shared: Path) -> None:
    """901 of 1000 in TFLite-Micro and LiteRT's reference kernels, 902 with XNNPACK."""
    model = shared / "models" / "mlperf_tiny" / "kws_ref_model.tflite"
    data = np.load(shared / "data" / "kws01.npz")
    right = []
    for engine in (TfliteMicro(model), LiteRt(model, reference=True), LiteRt(model)):
        with engine:
            (scores,) = engine.predict([data["x"]])
        right.append(int((scores.argmax(axis=1) == data["y"]).sum()))
    assert right == [901, 901, 902]

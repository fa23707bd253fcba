"""The process behind `onnx.convert`: onnx2tf, and onnxruntime's outputs for the comparison.

onnx2tf patches TensorFlow, prints, and keeps global state. For models with image-like inputs it
would fetch a sample image; the file it looks for first is put into the working folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.pipeline.worker import read_job, report_error

_SAMPLE_IMAGES = "calibration_image_sample_data_20x128x128x3_float32.npy"


def missing_operators(model: Any) -> list[str]:
    """Nodes that onnx2tf has no conversion for, in words."""
    from importlib.util import find_spec

    missing = []
    for number, node in enumerate(model.graph.node):
        foreign = node.domain not in ("", "ai.onnx")
        if foreign or find_spec(f"onnx2tf.ops.{node.op_type}") is None:
            domain = f"{node.domain}." if node.domain else ""
            missing.append(f"node {node.name or number!r} ({domain}{node.op_type})")
    return missing


def observe(folder: Path, job: dict[str, Any]) -> None:
    """Write onnxruntime's values of the outputs and of the tensors asked for: `onnxruntime.npz`."""
    import onnx
    import onnxruntime

    model = onnx.load(folder / "model.onnx")
    outputs = [o.name for o in model.graph.output]
    wanted = [name for name in job["tensors"] if name not in outputs]
    inputs = {i.name for i in model.graph.input}
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in wanted if name not in inputs
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    with np.load(folder / "samples.npz", allow_pickle=False) as samples:
        feeds = {name: samples[name] for name in samples.files}
    rows = len(next(iter(feeds.values())))
    names = [o.name for o in session.get_outputs()]
    results: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for row in range(rows):
        for name, value in zip(
            names, session.run(names, {k: v[row] for k, v in feeds.items()}), strict=True
        ):
            results[name].append(value)
    arrays: dict[str, Any] = {name: np.stack(values) for name, values in results.items()}
    arrays.update({name: feeds[name] for name in wanted if name in inputs})
    np.savez(folder / "onnxruntime.npz", **arrays)


def main() -> None:
    """Write `out/*_float32.tflite` and `onnxruntime.npz`, or `error.json`."""
    folder, job = read_job(sys.argv)
    try:
        import onnx
        import onnx2tf
    except ImportError as error:
        report_error(folder, f"{error}", "pip install 'tinydeploy[onnx]'")
        return
    model = onnx.load(folder / "model.onnx")
    if missing := missing_operators(model):
        report_error(
            folder,
            f"{missing[0]} has no conversion"
            + (f", nor {len(missing) - 1} more" * (len(missing) > 1)),
            "replace that operator in the source framework and export again",
        )
        return
    try:
        observe(folder, job)
    except Exception as error:  # onnxruntime has its own exceptions, none of them public
        report_error(folder, f"onnxruntime cannot run it: {error}", "check it with onnx.checker")
        return
    np.save(folder / _SAMPLE_IMAGES, np.zeros((20, 128, 128, 3), np.float32))
    try:
        onnx2tf.convert(
            input_onnx_file_path=str(folder / "model.onnx"),
            output_folder_path=str(folder / "out"),
            copy_onnx_input_output_names_to_tflite=True,
            keep_shape_absolutely_input_names=job["keep"] or None,
            batch_size=1,
            non_verbose=True,
        )
    except (Exception, SystemExit) as error:
        report_error(folder, f"onnx2tf: {error or type(error).__name__}")


if __name__ == "__main__":
    main()

"""A registered model to a board: verified, built if need be, flashed, proven."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np

from tinydeploy.cli import arrays, options, release, wiring
from tinydeploy.cli.plugin import state
from tinydeploy.cli.plugin.flavor import truth
from tinydeploy.cli.plugin.state import Deployment
from tinydeploy.config import default_registry
from tinydeploy.errors import DeviceError, RegistryError, UnreachableError, UsageError
from tinydeploy.store import sha256_file
from tinydeploy.types import Build, DeviceProfile

if TYPE_CHECKING:
    from tinydeploy.graph import Graph, Tensor
    from tinydeploy.registry.lifecycle import Lifecycle
    from tinydeploy.registry.mlflow import MlflowRegistry

OPTIONS = {
    "board": "board file's name, where neither the target nor the alias says it",
    "registry": "folder that holds mlruns/; MLFLOW_TRACKING_URI's, or the current one, by default",
    "firmware": "registered (the bytes that were measured, by default) or build (anew)",
    "engine": "aot or tflm, for firmware that is built",
    "optimize": "size, balanced or speed, for firmware that is built",
    "samples": "inferences that prove it, 3 by default",
    "require_signature": "true to refuse what no trusted key has signed",
    "profiles": "folder with more board files",
}
_SQLITE = "sqlite:///"


def deploy(
    name: str,
    target: str,
    model_uri: str,
    config: Mapping[str, Any],
    created: float | None = None,
    *,
    local: bool = False,
) -> Deployment:
    """Verify, flash, prove and keep; the deployment. Call it with the name locked.

    `local` takes an emulator of the same core where the board is a real one. Raises
    RegistryError, DoesNotFitError, DeviceError or UsageError: nothing is kept then.
    """
    from tinydeploy.pipeline.fit import require_fit
    from tinydeploy.registry.keys import signatures_required

    if unknown := sorted(set(config) - set(OPTIONS)):
        raise UsageError(f"no option is called {unknown[0]!r}", hint=f"known: {', '.join(OPTIONS)}")
    signed = signatures_required(truth(config.get("require_signature", False)))
    root = registry_of(config)
    store = wiring.registry(root)
    own_boards = str(Path(config["profiles"]).resolve()) if config.get("profiles") else ""
    profiles = _folders(own_boards)
    model, version, alias = store.locate(model_uri)
    if not version:
        raise UsageError(f"{model_uri!r} names no version", hint="write models:/NAME@BOARD")
    board, port = where(target, str(config.get("board", "")) or alias, profiles)
    device = wiring.devices([board], profiles)[board]
    if local and device.platform != "qemu":
        device = emulator_of(device)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        build = _firmware(root, store, f"{model}/{version}", device, config, Path(scratch), signed)
        require_fit(build.footprint, device)
        if device.real:
            _flash(build, device, port)
        proof = _prove(build, device, port, _samples(config))
        now = time.time()
        made = Deployment(
            name=name,
            target=target,
            board=device.name,
            port=port,
            model_uri=model_uri,
            model=model,
            version=version,
            engine=build.engine,
            optimize=build.optimize,
            build_id=build.build_id,
            model_sha256=build.model_sha256,
            firmware_sha256=build.firmware_sha256,
            registry=str(root.resolve() if isinstance(root, Path) else root),
            signed=signed,
            input=store.artifact(model, version).input,
            created=created or now,
            updated=now,
            proof=proof,
            profiles=own_boards,
        )
        state.write(state.state_folder() / name, made, build.directory)
    life = wiring.lifecycle(root)
    life.deployed(model, version, name, device.name)
    life.flashed(model, device.name, build.model_sha256, build.build_id, f"deployment {name}")
    _say_waiting(life)
    return made


def _flash(build: Build, device: DeviceProfile, port: str) -> None:
    from tinydeploy.devices.upload.commands import Target, plan
    from tinydeploy.devices.upload.run import upload

    way = plan(build, device, Target(port), None)
    upload(build, device, way, port=port, progress=options.progress)
    wiring.identify_after_upload(build, device, port)


def _prove(build: Build, device: DeviceProfile, port: str, samples: int) -> dict[str, Any]:
    """Run random inputs on the board, which has to compute what the host does; what is kept."""
    from tinydeploy.tflite import read_graph

    inputs = arrays.random_inputs(read_graph(build.model_path), samples)
    _, found = wiring.run_compared(build, device, inputs, port)
    if found.outputs_equal != found.outputs_compared:
        raise DeviceError(
            f"{found.outputs_compared - found.outputs_equal} of {found.outputs_compared} "
            "outputs differ from the host's",
            hint="the board does not compute what the host does: it is not deployed",
        )
    return {
        "outputs_compared": found.outputs_compared,
        "outputs_equal": found.outputs_equal,
        "instructions": list(found.instructions or ()) or None,
        "latency_us": list(found.latency_us or ()) or None,
        "origin": dict(found.origin),
        "method": found.method,
    }


def forget(deployment: Deployment) -> None:
    """Remove a deployment from this machine, and from its registry if that still knows it."""
    shutil.rmtree(state.state_folder() / deployment.name)
    with contextlib.suppress(RegistryError):
        root = registry_of({"registry": deployment.registry})
        life = wiring.lifecycle(root)
        life.undeployed(deployment.model, deployment.name)
        _say_waiting(life)


def _say_waiting(life: Lifecycle) -> None:
    """The deployment is what it is, whether or not the server could be told: no error, a word."""
    try:
        life.registry.require_delivered()
    except UnreachableError as e:
        options.progress(f"{e.message}; {e.hint}")


def predict(deployment: Deployment, given: Any) -> dict[str, np.ndarray]:
    """Outputs of the deployed board by tensor name: flashed as it was deployed, then asked.

    `given` is an array, name -> array, or a DataFrame with a column an input (or, for one input,
    a column an element). Integers go in as they are unless the model's raw data is described;
    floats are quantized. Raises DeviceError, also if the kept firmware was changed.
    """
    from tinydeploy.pipeline.data import prepare
    from tinydeploy.tflite import read_graph

    build = wiring.builder().load(state.firmware_of(deployment.name))
    if (build.build_id, build.firmware_sha256) != (
        deployment.build_id, deployment.firmware_sha256,
    ):  # fmt: skip
        raise DeviceError(
            f"the firmware kept for {deployment.name} is not what was deployed",
            hint="update the deployment",
        )
    device = wiring.devices([build.board], _folders(deployment.profiles))[build.board]
    graph = read_graph(build.model_path)
    tensors = [graph.tensors[i] for i in graph.inputs]
    described = deployment.input if len(tensors) == 1 else None
    inputs = [prepare(_own(a, t, described), t, described) for a, t in _given(given, tensors)]
    outputs, _ = wiring.run_compared(build, device, inputs, deployment.port)
    return {_name(graph, i): o for i, o in enumerate(outputs)}


def where(target: str, named: str, profiles: list[Path]) -> tuple[str, str]:
    """Board and serial port ("" for none) of a target URI and the board that is named elsewhere.

    `tinydeploy:/BOARD` names a board, `tinydeploy:/dev/ttyACM0` or `tinydeploy:/COM3` a port.
    """
    from tinydeploy.devices.catalogue import load_all

    path = unquote(urlparse(target).path)
    plain = path.strip("/")
    if plain in load_all(profiles):
        return plain, ""
    if not named:
        raise UsageError(
            f"{target!r} names no board", hint="tinydeploy:/BOARD, models:/NAME@BOARD, or -C board="
        )
    return named, path if path.count("/") > 1 else plain


def emulator_of(device: DeviceProfile) -> DeviceProfile:
    """An emulated board with the same core. Raises UsageError if there is none."""
    from tinydeploy.devices.catalogue import load_all

    for candidate in load_all().values():
        if candidate.platform == "qemu" and candidate.core == device.core:
            return candidate
    raise UsageError(
        f"no emulated board has a {device.core}", hint="name one with the target: tinydeploy:/BOARD"
    )


def registry_of(config: Mapping[str, Any]) -> Path | str:
    """The folder or server that is named, that MLFLOW_TRACKING_URI names, or the current folder."""
    named = str(config.get("registry", ""))
    if "://" in named:
        return named
    if named:
        return Path(named)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(_SQLITE) and uri.endswith("/mlruns/mlflow.db"):
        return Path(uri.removeprefix(_SQLITE)).parents[1]
    return default_registry(Path())


def _firmware(
    root: Path | str,
    store: MlflowRegistry,
    target: str,
    device: DeviceProfile,
    config: Mapping[str, Any],
    scratch: Path,
    signed: bool,
) -> Build:
    """The registered firmware of a version for a board, or built from its verified model."""
    from tinydeploy.registry import integrity

    kind = config.get("firmware", "registered")
    if kind not in ("registered", "build"):
        raise UsageError(f"firmware is {kind!r}", hint="registered or build")
    name, number, _ = store.locate(target)
    version = store.get(name, number)
    has_run = any(r.board == device.name for r in store.view(name).of(version))
    if kind == "registered" and has_run:
        return release.build_of(target, root, scratch, signed=signed, board=device.name)
    release.require_unchanged([integrity.check_model(store, version)], signed=signed)
    model = scratch / "model.tflite"
    shutil.copyfile(store.artifact(name, number).path, model)
    if sha256_file(model) != version.model_sha256:
        raise RegistryError(f"the model of {target} was changed", hint="deploy it again")
    return wiring.build_firmware(
        model,
        device,
        scratch / "firmware",
        engine=str(config.get("engine", "aot")),
        optimize=str(config.get("optimize", "balanced")),
    )


def _folders(profiles: str) -> list[Path]:
    return [Path(profiles)] if profiles else []


def _samples(config: Mapping[str, Any]) -> int:
    try:
        samples = int(config.get("samples", 3))
    except ValueError:
        samples = 0
    if not 1 <= samples <= 10_000:
        raise UsageError(f"samples is {config['samples']!r}", hint="1 to 10000")
    return samples


def _given(given: Any, tensors: list[Tensor]) -> list[tuple[np.ndarray, Tensor]]:
    """One array (N, ...) an input, out of what MLflow's callers bring."""
    if hasattr(given, "columns"):  # a DataFrame
        columns = {str(c): given[c] for c in given.columns}
        if len(tensors) == 1 and len(columns) > 1:
            return [(given.to_numpy(), tensors[0])]
        given = {name: np.array(list(series)) for name, series in columns.items()}
    if isinstance(given, Mapping):
        if len(tensors) == 1 and len(given) == 1:
            return [(np.asarray(next(iter(given.values()))), tensors[0])]
        if missing := [t.name for t in tensors if t.name not in given]:
            raise UsageError(
                f"there is no input {missing[0]!r}",
                hint=f"the model's inputs: {', '.join(t.name for t in tensors)}",
            )
        return [(np.asarray(given[t.name]), t) for t in tensors]
    if len(tensors) != 1:
        raise UsageError(f"the model has {len(tensors)} inputs", hint="give a column an input")
    return [(np.asarray(given), tensors[0])]


def _own(array: np.ndarray, tensor: Tensor, described: Any) -> np.ndarray:
    """JSON knows no dtypes: whole numbers take the one that raw data is described with.

    Without a description that is the model's own.
    """
    if array.ndim == 2 and array.shape[1] == np.prod(tensor.sample_shape, dtype=int):
        array = array.reshape(len(array), *tensor.sample_shape)
    if array.dtype.kind not in "iub":
        return array
    dtype = np.dtype(described.dtype if described else tensor.dtype)
    if array.dtype.kind == "b" or dtype.kind not in "iu":
        return array.astype(np.float32)
    limits = np.iinfo(dtype)
    if array.size and not limits.min <= array.min() <= array.max() <= limits.max:
        raise UsageError(
            f"input {tensor.name!r} takes {dtype} from {limits.min} to {limits.max}",
            hint="give raw data as it was described"
            if described
            else "write raw data as floats (1.0): they are quantized",
        )
    return array.astype(dtype)


def _name(graph: Graph, index: int) -> str:
    return graph.tensors[graph.outputs[index]].name

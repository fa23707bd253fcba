"""The verbs of MLflow's deployment interface; `tinydeploy.registry.deployments` is its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tinydeploy.cli.plugin import deploying, state
from tinydeploy.errors import UsageError
from tinydeploy.types import to_json

SCHEME = "tinydeploy"


def create(target: str, name: str, model_uri: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Verify, build if need be, flash, prove, keep. Raises UsageError if the name is taken."""
    with state.locked(name) as folder:
        if folder.exists():
            raise UsageError(f"the deployment {name} exists", hint="update or delete it")
        return _told(deploying.deploy(name, target, model_uri, config))


def update(name: str, model_uri: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Deploy another model, or the same again; on failure the old one stays."""
    with state.locked(name):
        old = state.read(name)
        kept = {"board": old.board, "registry": old.registry, "profiles": old.profiles}
        settings = {**kept, "require_signature": old.signed, **config}
        made = deploying.deploy(name, old.target, model_uri or old.model_uri, settings, old.created)
        return _told(made)


def delete(name: str) -> None:
    """Forget a deployment, if there is one. The board keeps its firmware until the next."""
    with state.locked(name) as folder:
        if folder.exists():
            deploying.forget(state.read(name))


def list_all(target: str) -> list[dict[str, Any]]:
    """The deployments that were made with a target, or all for "tinydeploy"."""
    every = target.strip("/") in (SCHEME, f"{SCHEME}:")
    return [_told(d) for d in state.every() if every or d.target == target]


def get(name: str) -> dict[str, Any]:
    """A deployment and how it was proven. Raises UsageError if there is none."""
    return _told(state.read(name))


def predict(name: str, inputs: Any) -> dict[str, list[list[Any]]]:
    """What the board computes: output tensor -> a flat list a sample."""
    with state.locked(name):
        outputs = deploying.predict(state.read(name), inputs)
    return {tensor: [row.ravel().tolist() for row in rows] for tensor, rows in outputs.items()}


def run_local(name: str, model_uri: str, config: Mapping[str, Any]) -> None:
    """Deploy to an emulator: of the model's board itself, or one with the same core."""
    with state.locked(name) as folder:
        if folder.exists():
            raise UsageError(f"the deployment {name} exists", hint="update or delete it")
        made = deploying.deploy(name, f"{SCHEME}:/", model_uri, config, local=True)
    proof = made.proof
    click.echo(
        f"{made.model} version {made.version} runs on {made.board}: {proof['outputs_equal']} "
        f"of {proof['outputs_compared']} outputs equal the host's, byte for byte"
    )


def target_help() -> str:
    """What `mlflow deployments help -t tinydeploy` prints."""
    options = "\n".join(f"  -C {key}=...   {text}" for key, text in deploying.OPTIONS.items())
    return (
        "tinydeploy:/BOARD        a board of `tinydeploy devices list`, emulated ones included\n"
        "tinydeploy:/dev/ttyACM0  the board at a serial port; the model's alias says which\n"
        "tinydeploy:/COM3         the same on Windows\n\n"
        f"Options:\n{options}\n\n"
        "Models are models:/NAME@BOARD or models:/NAME/VERSION. Inputs of predict are JSON: a\n"
        'list of rows, or [{"input": [...]}, ...]. With a description of raw data ([input] when\n'
        "the model was deployed) they are of its dtype. Without one whole numbers are the model's\n"
        "own dtype, and floats (1.0) are quantized."
    )


def _told(deployment: state.Deployment) -> dict[str, Any]:
    """A deployment as MLflow's callers expect it: `name` and `flavor` are among its keys."""
    return dict(to_json(deployment))

"""MLflow's deployment plugin, behind `mlflow deployments create -t tinydeploy:/BOARD`.

MLflow finds here `target_help`, `run_local` and one client class (its interface,
`mlflow.deployments.BaseDeploymentClient`). What is deployed is kept by `state`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import click
from mlflow.deployments import BaseDeploymentClient
from mlflow.exceptions import MlflowException

from tinydeploy.cli.plugin import deploying, state
from tinydeploy.errors import TinydeployError, UsageError
from tinydeploy.types import to_json

FLAVOR = "tinydeploy"


class DeploymentError(MlflowException, click.ClickException):  # type: ignore[misc]
    """An error of tinydeploy as MLflow's callers expect it; on the command line a message.

    `exit_code` is tinydeploy's own: 2 usage, 5 does not fit, 6 device, 7 registry.
    """

    def __init__(self, error: TinydeployError) -> None:
        message = f"{error.message}\nhint: {error.hint}" if error.hint else error.message
        super().__init__(message)  # of both: MLflow's calls click's
        self.exit_code = error.exit_code  # type: ignore[misc]


class TinydeployClient(BaseDeploymentClient):
    """Deploys to the boards of this machine, real and emulated."""

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Verify, build if need be, flash, prove byte for byte, and keep the deployment.

        See `target_help` for `config`. Raises DeploymentError, also if the name is taken.
        """
        with _translated():
            _no_other(flavor, endpoint)
            with state.locked(name) as folder:
                if folder.exists():
                    raise UsageError(f"the deployment {name} exists", hint="update or delete it")
                made = deploying.deploy(name, self.target_uri, model_uri, config or {})
            return _told(made)

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploy another model, or the same again, under a name; on failure the old one stays."""
        with _translated():
            _no_other(flavor, endpoint)
            with state.locked(name):
                old = state.read(name)
                settings = {"board": old.board, "registry": old.registry, **(config or {})}
                made = deploying.deploy(
                    name, old.target, model_uri or old.model_uri, settings, old.created
                )
            return _told(made)

    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """Forget a deployment, if there is one. The board keeps its firmware until the next."""
        with _translated():
            _no_other(None, endpoint)
            with state.locked(name) as folder:
                if folder.exists():
                    deploying.forget(state.read(name))

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """All deployments of this machine that were made with this target, by name."""
        with _translated():
            _no_other(None, endpoint)
            every = self.target_uri.strip("/") in (FLAVOR, f"{FLAVOR}:")
            return [_told(d) for d in state.every() if every or d.target == self.target_uri]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """What is deployed under a name, and how it was proven. Raises DeploymentError."""
        with _translated():
            _no_other(None, endpoint)
            return _told(state.read(name))

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Any:
        """What the board computes, as a DataFrame: a row a sample, a column an output tensor."""
        import pandas

        with _translated():
            _no_other(None, endpoint)
            if deployment_name is None or inputs is None:
                raise UsageError("a deployment's name and inputs are needed")
            with state.locked(deployment_name):
                outputs = deploying.predict(state.read(deployment_name), inputs)
            rows = {
                name: [row.ravel().tolist() for row in values] for name, values in outputs.items()
            }
            return pandas.DataFrame(rows)


def run_local(
    name: str,
    model_uri: str,
    flavor: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Deploy to an emulator: of the model's board itself, or one with the same core.

    MLflow 3.17 calls it without the target, whatever its documentation says: `-C board=` names
    the board if the model's alias does not.
    """
    with _translated():
        _no_other(flavor, None)
        with state.locked(name) as folder:
            if folder.exists():
                raise UsageError(f"the deployment {name} exists", hint="update or delete it")
            made = deploying.deploy(name, f"{FLAVOR}:/", model_uri, config or {}, local=True)
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
        'list of rows, or [{"input": [...]}, ...]. Whole numbers are the model\'s own, floats\n'
        "(1.0) are quantized."
    )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TinydeployError as e:
        raise DeploymentError(e) from e
    except OSError as e:
        raise DeploymentError(TinydeployError(f"{e.strerror or e}: {e.filename}")) from e


def _no_other(flavor: str | None, endpoint: str | None) -> None:
    if endpoint:
        raise UsageError("boards have no endpoints", hint="leave --endpoint out")
    if flavor not in (None, FLAVOR):
        raise UsageError(f"the flavor {flavor!r} is not deployed", hint=f"it is {FLAVOR}")


def _told(deployment: state.Deployment) -> dict[str, Any]:
    """A deployment as MLflow's callers expect it: `name` and `flavor` are among its keys."""
    return dict(to_json(deployment))

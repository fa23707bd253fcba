"""MLflow's deployment plugin, behind `mlflow deployments create -t tinydeploy:/BOARD`.

MLflow finds here `target_help`, `run_local` and one client class (its interface,
`mlflow.deployments.BaseDeploymentClient`), and imports MLflow before it does. What they do needs
compiler and boards: see `tinydeploy.plugins`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import click
from mlflow.deployments import BaseDeploymentClient
from mlflow.exceptions import MlflowException

from tinydeploy import plugins
from tinydeploy.errors import TinydeployError, UsageError
from tinydeploy.mlflow import FLAVOR_NAME


class DeploymentError(MlflowException, click.ClickException):  # type: ignore[misc]
    """An error of tinydeploy as MLflow's callers expect it; on the command line a message.

    `exit_code` is tinydeploy's own: 2 usage, 5 does not fit, 6 device, 7 registry.
    """

    def __init__(self, error: TinydeployError) -> None:
        message = f"{error.message}\nhint: {error.hint}" if error.hint else error.message
        super().__init__(message)  # of both: MLflow's calls click's
        self.exit_code = error.exit_code  # type: ignore[misc]


class TinydeployClient(BaseDeploymentClient):
    """Deploys to the boards of this machine, real and emulated. All calls raise DeploymentError."""

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Verify, build if need be, flash, prove byte for byte, and keep the deployment."""
        with _calls(flavor, endpoint):
            return dict(_do("create", self.target_uri, name, model_uri, config or {}))

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploy another model, or the same again, under a name; on failure the old one stays."""
        with _calls(flavor, endpoint):
            return dict(_do("update", name, model_uri, config or {}))

    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """Forget a deployment, if there is one. The board keeps its firmware until the next."""
        with _calls(None, endpoint):
            _do("delete", name)

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """All deployments of this machine that were made with this target, by name."""
        with _calls(None, endpoint):
            return list(_do("list_all", self.target_uri))

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """What is deployed under a name, and how it was proven."""
        with _calls(None, endpoint):
            return dict(_do("get", name))

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Any:
        """What the board computes, as a DataFrame: a row a sample, a column an output tensor."""
        import pandas

        with _calls(None, endpoint):
            if deployment_name is None or inputs is None:
                raise UsageError("a deployment's name and inputs are needed")
            return pandas.DataFrame(_do("predict", deployment_name, inputs))


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
    with _calls(flavor, None):
        _do("run_local", name, model_uri, config or {})


def target_help() -> str:
    """What `mlflow deployments help -t tinydeploy` prints."""
    return str(_do("target_help"))


def _do(verb: str, *arguments: Any) -> Any:
    return plugins.load("deployments", verb)(*arguments)


@contextlib.contextmanager
def _calls(flavor: str | None, endpoint: str | None) -> Iterator[None]:
    """Errors of tinydeploy become MLflow's; there is one flavor and no endpoint."""
    try:
        if endpoint:
            raise UsageError("boards have no endpoints", hint="leave --endpoint out")
        if flavor not in (None, FLAVOR_NAME):
            raise UsageError(f"the flavor {flavor!r} is not deployed", hint=f"it is {FLAVOR_NAME}")
        yield
    except TinydeployError as e:
        raise DeploymentError(e) from e
    except OSError as e:
        raise DeploymentError(TinydeployError(f"{e.strerror or e}: {e.filename}")) from e

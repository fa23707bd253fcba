"""What a command has changed on a server so far: said if the server goes in the middle."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinydeploy.registry.failures import is_unreachable

_READS = ("Get", "Search", "List")
_SHOWN = 12
_ID = 8

# MLflow's name of a call -> what it changes, with the fields of its body.
_WORDS: Mapping[str, str] = {
    "CreateRegisteredModel": "the registered model {name}",
    "UpdateRegisteredModel": "the description of {name}",
    "SetRegisteredModelTag": "the tag {key} of {name}",
    "DeleteRegisteredModelTag": "the tag {key} of {name} is removed",
    "SetRegisteredModelAlias": "the alias {alias} points to version {version}",
    "DeleteRegisteredModelAlias": "the alias {alias} is removed",
    "CreateModelVersion": "a version of {name}",
    "UpdateModelVersion": "the description of version {version}",
    "DeleteModelVersion": "version {version} is removed",
    "SetModelVersionTag": "the tag {key} of version {version}",
    "DeleteModelVersionTag": "the tag {key} of version {version} is removed",
    "CreateExperiment": "the experiment {name}",
    "CreateRun": "a run",
    "UpdateRun": "the state of run {run_id}",
    "LogBatch": "tags of run {run_id}",
    "LogInputs": "data sets of run {run_id}",
    "SetTag": "the tag {key} of run {run_id}",
    "DeleteTag": "the tag {key} of run {run_id} is removed",
    "DeleteRun": "run {run_id} is deleted",
}


class Sent:
    """The changes of one command: those that the server has confirmed, and the one it has not."""

    def __init__(self) -> None:
        self._depth = 0
        self._done: list[str] = []
        self._asked = ""

    @contextlib.contextmanager
    def command(self) -> Iterator[None]:
        """One command; one inside another belongs to it."""
        if self._depth == 0:
            self._done, self._asked = [], ""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    @contextlib.contextmanager
    def change(self, words: str) -> Iterator[None]:
        """A change that is asked for; done when the block ends."""
        self._asked = words
        try:
            yield
            self._done.append(words)
        except Exception as e:
            if is_unreachable(e):
                raise  # it may be done all the same: `told` says so
            self._asked = ""
            raise
        self._asked = ""

    def told(self) -> str:
        """What a message about a server that does not answer ends with; "" outside a command."""
        if self._depth == 0:
            return ""
        if not self._done and not self._asked:
            return "; nothing was changed"
        parts = []
        if self._done:
            left_out = len(self._done) - _SHOWN
            shown = [f"{left_out} things", *self._done[-_SHOWN:]] if left_out > 0 else self._done
            parts.append(f"; changed before: {', '.join(shown)}")
        if self._asked:
            parts.append(f"; no answer to (it may be done): {self._asked}")
        return "".join(parts)

    def watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`_call_endpoint` of a store of MLflow, with each call that changes something noted."""

        def noted(api: Any, body: Any = None, *arguments: Any, **named: Any) -> Any:
            name = api.__name__
            if name.startswith(_READS):
                return call(api, body, *arguments, **named)
            with self.change(_said(name, named.get("json_body", body))):
                return call(api, body, *arguments, **named)

        return noted


def _said(name: str, body: str | None) -> str:
    fields = json.loads(body) if body else {}
    if run := fields.get("run_id"):
        fields["run_id"] = run[:_ID]
    return _WORDS.get(name, name).format_map(_Fields(fields))


class _Fields(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"

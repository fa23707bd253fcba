"""What ran where and when: an append-only record in a run of kind `history`.

Each event is a tag of its own, `event.TIME.RANDOM`, so that several writers never disturb each
other; the metric `version.<board>` draws the same as a chart in the MLflow UI. Should two
processes have made two such runs at the same moment, both are read.
"""

from __future__ import annotations

import dataclasses
import datetime
import getpass
import json
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinydeploy.registry.place import Reader
from tinydeploy.registry.schema import KIND_HISTORY, LAYOUT, TAG_KEY, TAG_KIND, TAG_LAYOUT, Row
from tinydeploy.store import sha256_json
from tinydeploy.types import from_json, to_json

if TYPE_CHECKING:
    from tinydeploy.registry.writer import Writer

_PREFIX = "event."
_MOST_NOTE = 1000
CHOICES = ("selected", "promoted", "rolled back", "pinned")
"""Events after which the alias of the board points to the event's version."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a board: one of CHOICES, "unpinned", "none" or "flashed".

    `at` is UTC in ISO 8601, `run_id` the run of kind `board`, `by` who did it on which machine,
    `note` what there is to say. "none" is a selection that nothing satisfied.
    """

    board: str
    what: str
    version: str = ""
    variant: str = ""
    run_id: str = ""
    build_id: str = ""
    note: str = ""
    at: str = ""
    by: str = ""


def now() -> str:
    """The time of an event: UTC in ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def append(writer: Writer, event: Event) -> None:
    """Add an event, with the time and who did it if it does not say so itself.

    One that names its time was kept until a server answered; it may come twice and is there once.
    """
    signed = {**to_json(_cut(event)), "at": event.at or now(), "by": event.by or who()}
    at = datetime.datetime.fromisoformat(signed["at"])
    token = sha256_json(signed)[:6] if event.at else secrets.token_hex(3)
    key = f"{_PREFIX}{at.strftime('%Y%m%dT%H%M%S.%f')}.{token}"
    metrics = {}
    if event.what in CHOICES and event.version.isdigit():
        metrics[f"version.{event.board}"] = float(event.version)
    runs = writer.place.reader.runs(writer.experiment, KIND_HISTORY)
    finished = [r for r in runs if r.status == "FINISHED"]
    run_id = finished[-1].run_id if finished else _create(writer)
    writer.log(run_id, Row(tags={key: json.dumps(signed)}, metrics=metrics))


def append_once(writer: Writer, event: Event) -> None:
    """Add an event, unless it is what happened to the board last: a command that was cut off."""
    before = events(writer.place.reader, writer.experiment, event.board)
    last = next((e for e in reversed(before) if e.what != "flashed"), None)
    if last is None or dataclasses.replace(last, at="", by="") != _cut(event):
        append(writer, event)


def _cut(event: Event) -> Event:
    """Words of people are cut to what MLflow keeps in a tag."""
    return dataclasses.replace(event, note=event.note[:_MOST_NOTE])


def _create(writer: Writer) -> str:
    tags = {TAG_LAYOUT: LAYOUT, TAG_KIND: KIND_HISTORY, TAG_KEY: KIND_HISTORY}
    return writer.run("history", Row(tags), lambda folder, run_id: {})[0]


def events(reader: Reader, name: str, board: str | None = None) -> list[Event]:
    """The events of a registered model (on one board), the oldest first."""
    found = {}
    for run in reader.runs(name, KIND_HISTORY):
        for key, text in run.row.tags.items():
            if key.startswith(_PREFIX):
                found[key] = from_json(Event, json.loads(text))
    ordered = [found[key] for key in sorted(found)]
    return [e for e in ordered if board in (None, e.board)]


def previous(events: Iterable[Event], current: str) -> list[Event]:
    """What a board had before, the latest first: the choices that led to version `current`.

    A rollback takes the choice back from which it came, so that the next one goes further.
    """
    stack: list[Event] = []
    for event in events:
        if event.what == "rolled back":
            while stack and stack[-1].version != event.version:
                stack.pop()
        if event.what in CHOICES and (not stack or stack[-1].version != event.version):
            stack.append(event)
    if stack and stack[-1].version == current:
        stack.pop()
    return stack[::-1]


def running(events: Iterable[Event]) -> dict[str, Event]:
    """Board -> what was flashed on it last."""
    return {e.board: e for e in events if e.what == "flashed"}


def who() -> str:
    """Who does something here: user and machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # an account without a name
        user = "?"
    return f"{user}@{socket.gethostname()}"

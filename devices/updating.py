"""Exchange the model on a board: a delta over the serial link, a switch, a trial, a confirmation.

The device does the rest (`firmware/include/td_update.h`): it makes the new content beside the old
one, compares its SHA-256 with the announced one, switches by one record, and goes back at its next
start unless it was confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tinydeploy.devices import delta, protocol
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.exchange import TooDamagedError
from tinydeploy.devices.session import ATTEMPTS, SHORTEST_LINE_BYTES, Session
from tinydeploy.errors import DeviceError, LinkError, UsageError
from tinydeploy.store import sha256_bytes
from tinydeploy.types import Build, DeviceProfile

CONTENT = "td_weights_factory"
FLASH_TIMEOUT_S = 60.0  # erasing a slot, hashing it, or writing all that one step copies
HASHED_SINCE = 3  # the version of the protocol in which an update is checked by SHA-256
REFUSED = {
    -8: "the firmware was built for another graph",
    -9: "another model runs on the board than the delta was made for",
    -10: "what the delta made on the board is not the new model",
    -11: "an earlier update is still on trial",
    -12: "the board's flash does not hold what was written",
}


@dataclass(frozen=True)
class BoardState:
    """What runs on an updatable board.

    `slot` is "a", "b" or "factory" (what was flashed), `crc` and `sha256` those of its content of
    `content_bytes`. A `trial` ends at the next start. `received` bytes of a delta have arrived, or
    None when no update is under way.
    """

    layout: str
    content_bytes: int
    slot: str
    trial: bool
    crc: int
    sha256: str
    received: int | None


@dataclass(frozen=True)
class Update:
    """What an update did: `delta_bytes` were sent, the content has `content_bytes`."""

    build_id: str
    slot: str
    base_sha256: str
    sha256: str
    delta_bytes: int
    content_bytes: int
    known_base: bool


def require_flash(device: DeviceProfile, by_us: bool) -> None:
    """Raise UsageError for a board whose port writes no flash."""
    if not by_us or "TD_PORT_FLASH_BYTES" not in device.defines:
        raise UsageError(
            f"{device.name}: its port does not write flash, so that its model cannot be exchanged",
            hint="leave --updatable out; docs/update.md says what a port needs",
        )


def content_of(build: Build) -> bytes:
    """The model's content that is linked into a build. Raises UsageError if it has none."""
    elf = Elf(build.elf)
    extent = elf.extent(CONTENT)
    if not build.layout or extent is None:
        raise UsageError(
            f"{build.directory} holds no updatable firmware",
            hint="build it with `tinydeploy build --updatable`",
        )
    return elf.read(*extent)


def state(session: Session) -> BoardState:
    """Ask the board. Raises UsageError for firmware that is not updatable, or by CRC only."""
    identity = session.identify()
    if "update" not in identity.capabilities:
        raise UsageError(
            "the firmware on the board is not updatable",
            hint="flash a build of `tinydeploy build --updatable` first",
        )
    if identity.protocol < HASHED_SINCE:
        raise UsageError(
            f"the firmware on the board (protocol {identity.protocol}) checks an update by CRC-32 "
            "only",
            hint="build it anew with `tinydeploy build --updatable` and flash it once: since "
            f"protocol {HASHED_SINCE} updates are checked by SHA-256",
        )
    answer = session.ask("update", timeout_s=FLASH_TIMEOUT_S)
    return BoardState(
        layout=answer.text("layout"),
        content_bytes=answer.number("bytes"),
        slot=answer.text("slot"),
        trial=answer.text("state") == "trial",
        crc=int(answer.text("crc"), 16),
        sha256=answer.text("hash"),
        received=answer.number("at") if answer.number("staging") else None,
    )


def require_same_graph(found: str, build: Build) -> None:
    """Raise UsageError unless `found` is the layout of `build`."""
    if found != build.layout:
        raise UsageError(
            f"the new model is another graph than the firmware's (layout {build.layout[:12]}, "
            f"the firmware's {found[:12]})",
            hint="shapes, operators and kernels must be the same: build and flash instead",
        )


def update(
    session: Session,
    new: Build,
    known: Mapping[str, bytes],
    check: Callable[[], None],
    progress: Callable[[str], None] = lambda _: None,
) -> Update:
    """Put the model of `new` on the board and confirm it when `check` has passed.

    `known` are contents by SHA-256 in hex: with the one that runs on the board only the difference
    is sent.
    `check` talks to the new model; what it raises sends the board back to the former one, and is
    raised again. Raises UsageError for another graph, DeviceError for what the board refuses.
    """
    content = content_of(new)
    crc = protocol.crc32(content)
    sha256 = sha256_bytes(content)
    before = state(session)
    require_same_graph(before.layout, new)
    if before.trial:
        progress("an update that was not confirmed is taken back")
        _demand(session, "revert")
        session.forget()
        before = state(session)
    if before.sha256 == sha256:
        check()
        return Update(new.build_id, before.slot, sha256, sha256, 0, len(content), True)
    base = known.get(before.sha256)
    change = delta.encode(base, content)
    progress(f"sending {len(change):,} B for a content of {len(content):,} B")
    announced = (new.layout[:8], f"{before.crc:08x}", f"{crc:08x}", sha256)
    _transfer(session, announced, change, progress)
    switched = _demand(session, "commit", f"{crc:08x}")
    session.forget()
    progress("the new model is on trial")
    try:
        if switched.text("hash") != sha256:
            raise DeviceError(
                "what runs on the board is not what was sent: its SHA-256 is another",
                hint="the former model runs again; the board's flash may be damaged",
            )
        check()
        _demand(session, "confirm", f"{crc:08x}")
    except Exception:
        _take_back(session)
        raise
    after = state(session)
    if after.trial or after.sha256 != sha256:
        raise DeviceError(
            "the board does not run the new model", hint="check its power, and update again"
        )
    return Update(
        new.build_id,
        after.slot,
        before.sha256,
        sha256,
        len(change),
        len(content),
        base is not None,
    )


def _take_back(session: Session) -> None:
    """Best effort: a board that no longer answers goes back at its next start."""
    try:
        session.ask("revert", timeout_s=FLASH_TIMEOUT_S)
    except DeviceError:
        return
    finally:
        session.forget()


def _transfer(
    session: Session,
    announced: tuple[str, str, str, str],
    change: bytes,
    progress: Callable[[str], None],
) -> None:
    """Send a delta; where the board restarted in between, from its beginning.

    `announced`: the layout's first digits, the base's CRC, the new content's CRC and SHA-256.
    """
    for _ in range(ATTEMPTS):
        _demand(session, "stage", *announced)
        if _patches(session, change, progress):
            return
    raise LinkError(
        f"the board lost the update {ATTEMPTS} times", hint="it restarts: check its power"
    )


def _patches(session: Session, change: bytes, progress: Callable[[str], None]) -> bool:
    """Whether all of a delta arrived; False when the board forgot that an update is under way."""
    line_bytes = session.identify().line_bytes
    sent, told = 0, 0
    while sent < len(change):
        room = max(1, line_bytes - protocol.PATCH_OVERHEAD)
        part = protocol.fitting(change[sent : sent + room], room)
        try:
            answer = session.ask("patch", sent, part, timeout_s=FLASH_TIMEOUT_S, refusals=True)
        except TooDamagedError:
            if line_bytes <= SHORTEST_LINE_BYTES:
                raise
            line_bytes = max(SHORTEST_LINE_BYTES, line_bytes // 2)
            continue
        if answer.code == protocol.ERR_INPUT:
            received = state(session).received
            if received is None:
                return False
            sent = received
            continue
        _accept("patch", answer)
        sent = answer.number("at")
        if sent * 10 // len(change) > told:
            told = sent * 10 // len(change)
            progress(f"{sent:,} of {len(change):,} B")
    return True


def _demand(session: Session, name: str, *args: str) -> protocol.Answer:
    answer = session.ask(name, *args, timeout_s=FLASH_TIMEOUT_S, refusals=True)
    return _accept(name, answer)


def _accept(name: str, answer: protocol.Answer) -> protocol.Answer:
    if answer.code:
        why = REFUSED.get(answer.code, f"the firmware refused {name!r}: {answer.name}")
        raise DeviceError(
            f"{why} ({answer.code})", hint="the former model still runs; nothing was lost"
        )
    return answer

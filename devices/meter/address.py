"""`KIND:ADDRESS[,KEY=VALUE...]`: which meter, where it is, and how it is set up."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from types import ModuleType

from tinydeploy import plugins
from tinydeploy.errors import ToolMissingError, UsageError
from tinydeploy.ports import Meter


@dataclass(frozen=True)
class MeterAddress:
    """A parsed address. `voltage_v` is the board's supply unless the address says `voltage=`."""

    kind: str
    place: str
    options: dict[str, str] = field(default_factory=dict)
    supply_v: float | None = None

    @property
    def name(self) -> str:
        """How messages call the meter."""
        return f"{self.kind}:{self.place}" if self.place else self.kind

    def only(self, *known: str) -> MeterAddress:
        """This address, unless it has an option that the meter does not know: then UsageError."""
        for key in self.options:
            if key not in known:
                raise UsageError(
                    f"{self.name} has no option {key!r}", hint=f"known: {', '.join(known) or '-'}"
                )
        return self

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number. Raises UsageError if it is none, or missing without a default."""
        text = self.options.get(key)
        if text is None:
            if default is None:
                raise UsageError(f"{self.name} needs {key}=", hint=f"{self.name},{key}=NUMBER")
            return default
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise UsageError(f"{self.name}: {key} is {text!r}", hint="a number greater than 0")
        return value

    def whole(self, key: str, default: int, top: int) -> int:
        """A whole number from 0 to `top`. Raises UsageError."""
        text = self.options.get(key, str(default))
        if not text.isdecimal() or int(text) > top:
            raise UsageError(f"{self.name}: {key} is {text!r}", hint=f"0 to {top}")
        return int(text)

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        """One of `known`, by default the first. Raises UsageError."""
        text = self.options.get(key, known[0])
        if text not in known:
            raise UsageError(f"{self.name}: {key} is {text!r}", hint=f"one of {', '.join(known)}")
        return text

    @property
    def voltage_v(self) -> float:
        """The supply that the meter gives, or assumes. Raises UsageError where nobody says it."""
        if "voltage" not in self.options and self.supply_v is None:
            raise UsageError(
                f"{self.name} needs the supply voltage",
                hint=f"{self.name},voltage=3.3 - or supply_v in the board file",
            )
        return self.number("voltage", self.supply_v)


def parse(text: str, supply_v: float | None = None) -> MeterAddress:
    """The parts of `KIND:ADDRESS[,KEY=VALUE...]`. Raises UsageError."""
    kind, _, rest = text.partition(":")
    place, *words = rest.split(",")
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals or not value or key in options:
            raise UsageError(f"no meter option: {word!r}", hint="KIND:ADDRESS,KEY=VALUE")
        options[key] = value
    return MeterAddress(kind, place, options, supply_v)


def open_meter(text: str, supply_v: float | None = None) -> Meter:
    """The meter at an address. Raises UsageError, ToolMissingError or DeviceError."""
    address = parse(text, supply_v)
    meter: Meter = plugins.load("meter", address.kind)(address)
    return meter


def need(package: str, extra: str) -> ModuleType:
    """Import a meter's library. Raises ToolMissingError with what to install."""
    try:
        return importlib.import_module(package)
    except ImportError as e:
        raise ToolMissingError(
            f"this meter needs the Python package {package}: {e}",
            hint=f"pip install 'tinydeploy[{extra}]'",
        ) from e

"""Frozen values survive the way to JSON and back; the error tree keeps its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinydeploy import errors, plugins, types

FOOTPRINT = types.Footprint(
    30, 20, 8, 10, {"weights": 20, "engine_code": 10}, {"arena": 8, "stack": 12}
)
VALUES = [
    FOOTPRINT,
    types.Measurement("id", "b", 2, 2, 1, instructions=(5, 6), origin={"instructions": "emulated"}),
    types.Artifact(
        Path("a.tflite"), "s", 3, "int8", "n", "s", "", labels=("x", "y"),
        input=types.InputDescription("uint8", 0.5, resize=(28, 28)),
    ),
    types.Build(
        Path("d"), Path("d/f"), "id", "b", "aot", "balanced", "gcc", Path("m"), "s", "f", FOOTPRINT
    ),
    types.Selection(
        "b", "flash", types.Candidate("v", "s", "accuracy", 0.9),
        (types.Candidate("v", "s", "accuracy", 0.9),), ("v",), {"w": "larger"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_round_trip(value: object) -> None:
    text = json.dumps(types.to_json(value))
    assert types.from_json(type(value), json.loads(text)) == value


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        types.from_json(types.Recipe, {"colour": 1})


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (types.Footprint, {**types.to_json(FOOTPRINT), "flash_bytes": "30"}),
        (types.Footprint, {**types.to_json(FOOTPRINT), "flash_bytes": True}),
        (types.Footprint, {**types.to_json(FOOTPRINT), "ram": {"arena": None}}),
        (types.Footprint, {**types.to_json(FOOTPRINT), "code_bytes": 10**400}),
        (types.Constraints, {"reference": 3}),
        (types.Constraints, {"max_loss": [0.1]}),
        (types.InputDescription, {"layout": "sideways"}),
        (types.InputDescription, {"resize": [28, "28"]}),
    ],
)
def test_values_of_another_type_are_refused(cls: type, said: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        types.from_json(cls, said)


def test_a_limit_is_a_number() -> None:
    with pytest.raises(errors.UsageError, match="max_loss is not a number"):
        types.Constraints(max_loss=float("nan"))


def test_measured_stack_replaces_the_reserved_one() -> None:
    measured = FOOTPRINT.with_stack(4)
    assert measured.ram == {"arena": 8, "stack": 4}
    assert measured.ram_bytes == sum(measured.ram.values())


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {
        errors.UsageError: 2,
        errors.NoSufficientVariantError: 3,
        errors.UnsupportedModelError: 4,
        errors.DoesNotFitError: 5,
        errors.DeviceError: 6,
        errors.LinkError: 6,
        errors.FirmwareFaultError: 6,
        errors.RegistryError: 7,
    }
    assert {cls: cls("x").exit_code for cls in codes} == codes


@pytest.mark.parametrize("kind", sorted(plugins.TABLES))
def test_every_built_in_plug_can_be_loaded(kind: str) -> None:
    for name in plugins.names(kind):
        assert callable(plugins.load(kind, name))


def test_an_unknown_plug_names_the_known_ones() -> None:
    with pytest.raises(errors.UsageError) as e:
        plugins.load("runner", "nonsense")
    assert "qemu" in e.value.hint

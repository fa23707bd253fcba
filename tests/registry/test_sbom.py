"""Bills of materials against CycloneDX's own schema, strictly: no key that it does not know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.registry.sbom import sbom

HASH = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)


def model_lineage(**changes: Any) -> dict[str, Any]:
    return {
        "model_sha256": HASH,
        "source": {"name": "kws.h5", "sha256": HASH[::-1]},
        "data": {"calibration": {"sha256": HASH}, "validation": {"sha256": HASH}},
        "tools": {"tensorflow": "2.21.0", "tinydeploy": "0.1.0"},
    } | changes


def board_lineage(**changes: Any) -> dict[str, Any]:
    return {
        "board": "pico",
        "build_id": HASH,
        "firmware_sha256": HASH,
        "engine": {"name": "aot", "optimize": "size", "sha256": HASH},
        "compiler": "arm-none-eabi-gcc 12.2.1",
        "tools": {"platformio": "6.2.0", "tinydeploy": "0.1.0"},
    } | changes


def made(name: str = "kws", label: str = HASH[:12], **changes: Any) -> str:
    model = {k: v for k, v in changes.items() if k in model_lineage()}
    board = {k: v for k, v in changes.items() if k in board_lineage()}
    return sbom(name, label, model_lineage(**model), board_lineage(**board), "Apache-2.0")


def test_conforms_to_the_schema(validator: JsonStrictValidator) -> None:
    assert validator.validate_str(made()) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"bomFormat": "SPDX"},
        {"serialNumber": "urn:uuid:1"},
        {"vendor": "us"},
        {"components": [{"type": "firmware"}]},
        {"dependencies": [{"dependsOn": []}]},
    ],
)
def test_the_validator_finds_what_is_wrong(
    validator: JsonStrictValidator, damage: dict[str, Any]
) -> None:
    assert validator.validate_str(json.dumps(json.loads(made()) | damage)) is not None


def test_things_of_one_name_are_told_apart(validator: JsonStrictValidator) -> None:
    """The model called as its source, the compiler listed as a tool, two versions of a tool."""
    of_model = model_lineage(
        source={"name": "kws", "sha256": HASH}, tools={"gcc": "12", "numpy": "2.3"}
    )
    of_board = board_lineage(compiler="gcc 12", tools={"gcc": "12", "numpy": "2.4"})
    text = sbom("kws (source)", "1", of_model, of_board, "Apache-2.0")
    assert validator.validate_str(text) is None
    bom = json.loads(text)
    require_references(bom)
    found = [(part["name"], part.get("version")) for part in bom["components"]]
    assert {("numpy", "2.3"), ("numpy", "2.4")} <= set(found)
    assert found.count(("gcc", "12")) == 2


WORDS = st.text(min_size=1, max_size=30)
VERSIONS = st.dictionaries(WORDS, st.text(max_size=20), max_size=4)


@given(WORDS, WORDS, WORDS, VERSIONS, st.sampled_from([HASH, ""]))
@settings(max_examples=60, deadline=None)
def test_whatever_things_are_called(
    validator: JsonStrictValidator,
    name: str,
    source: str,
    compiler: str,
    tools: dict[str, str],
    sha256: str,
) -> None:
    """Names of models and data sets are their owners', versions are what packages say."""
    text = made(
        name,
        source={"name": source, "sha256": sha256},
        data={source: {"sha256": HASH}},
        compiler=compiler,
        tools=tools,
    )
    assert validator.validate_str(text) is None
    require_references(json.loads(text))


def require_references(bom: dict[str, Any]) -> None:
    """The schema cannot say it, the specification does: references are unique and lead to parts."""
    parts = [bom["metadata"]["component"], *bom["components"]]
    references = [part["bom-ref"] for part in parts]
    assert len(set(references)) == len(references)
    known = set(references)
    assert {d["ref"] for d in bom["dependencies"]} <= known
    assert {r for d in bom["dependencies"] for r in d.get("dependsOn", [])} <= known

"""registry.schema and registry.boards: what is written comes back."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import pytest
from family import DATA, build, measurement, variant
from hypothesis import given
from hypothesis import strategies as st

from tinydeploy.errors import RegistryError
from tinydeploy.registry import boards, schema
from tinydeploy.types import Artifact, Build, Constraints, Evaluation, Footprint, Measurement

HASH = "ab" * 32
sizes = st.integers(min_value=0, max_value=2**40)
positive = st.floats(min_value=0.001, max_value=1e9)
origins = st.sampled_from(["measured", "emulated", "estimated"])
words = st.text("abcxyz019_-", min_size=1, max_size=12)


@st.composite
def builds(draw: st.DrawFn) -> Build:
    flash = draw(st.dictionaries(words, sizes, min_size=1))
    ram = draw(st.dictionaries(words, sizes)) | {"stack": draw(sizes)}
    footprint = Footprint(
        flash_bytes=sum(flash.values()),
        ram_bytes=sum(ram.values()),
        arena_bytes=draw(sizes),
        code_bytes=draw(sizes),
        flash=flash,
        ram=ram,
    )
    return Build(
        directory=Path(draw(words)),
        elf=Path(draw(words)),
        build_id=draw(words),
        board=draw(words),
        engine=draw(st.sampled_from(["aot", "tflm"])),
        optimize=draw(st.sampled_from(["size", "balanced", "speed"])),
        compiler=draw(words),
        model_path=Path(draw(words)),
        model_sha256=HASH,
        firmware_sha256=draw(words),
        footprint=footprint,
    )


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    def some(values: st.SearchStrategy[Any]) -> Any:
        return (
            tuple(draw(st.lists(values, min_size=1, max_size=5))) if draw(st.booleans()) else None
        )

    compared = draw(st.integers(0, 9))
    figures: dict[str, Any] = {
        "instructions": some(sizes),
        "latency_us": some(positive),
        "energy_uj": some(positive),
        "cycles_model": draw(st.none() | sizes),
        "stack_bytes": draw(st.none() | sizes),
    }
    return Measurement(
        build_id="",
        board="",
        samples=draw(st.integers(compared, 20)),
        outputs_compared=compared,
        outputs_equal=draw(st.integers(0, compared)),
        origin={key: draw(origins) for key, value in figures.items() if value is not None},
        **figures,
    )


def version(metric: str = "accuracy") -> schema.VersionRecord:
    return schema.VersionRecord(
        "m", "3", "parent", "net-int8", "int8", "net", HASH, 10, metric, 0.75
    )


@given(builds(), st.none() | measurements())
def test_a_run_on_a_board_comes_back(made: Build, measured: Measurement | None) -> None:
    row = boards.board_row(version(), made, measured)
    back = boards.read_board("run", row)
    assert (back.run_id, back.parent_run_id) == ("run", "parent")
    for key in ("board", "engine", "optimize", "build_id", "compiler", "firmware_sha256"):
        assert getattr(back, key) == getattr(made, key)
    assert back.footprint == boards.final_footprint(made, measured)
    assert row.metrics["accuracy"] == 0.75
    if measured is None:
        assert back.origin == {}
        assert (back.instructions, back.outputs_verified, back.samples) == (None, None, 0)
        return
    assert back.origin == measured.origin
    assert back.samples == measured.samples
    assert back.cycles_model == measured.cycles_model
    mean = measured.instructions and round(statistics.fmean(measured.instructions))
    assert back.instructions == mean
    for key in ("latency_us", "energy_uj"):
        samples = getattr(measured, key)
        assert getattr(back, key) == (samples and statistics.median(samples))
    if measured.outputs_compared:
        assert back.outputs_verified == (measured.outputs_equal == measured.outputs_compared)
    else:
        assert back.outputs_verified is None


@given(builds(), measurements())
def test_every_number_has_an_origin(made: Build, measured: Measurement) -> None:
    row = boards.board_row(version(), made, measured)
    keys = ("accuracy", "flash_bytes", "ram_bytes", "arena_bytes", "code_bytes")
    figures = ("instructions", "latency_us", "energy_uj", "cycles_model")
    for key in (*keys, *(f for f in figures if getattr(measured, f) is not None)):
        assert key in row.metrics
        assert row.tags[f"origin.{key}"]
    if measured.stack_bytes is not None:
        assert row.tags["origin.ram_bytes"] == measured.origin["stack_bytes"]


def test_the_stack_that_was_used_replaces_the_reserved_one(tmp_path: Path) -> None:
    _, artifact, *_ = variant(tmp_path)
    made = build(tmp_path, artifact)
    row = boards.board_row(version(), made, measurement(made, stack_bytes=512))
    assert row.metrics["ram.stack"] == 512
    assert row.metrics["ram_bytes"] == 8_192 - 2_048 + 512


def test_places_do_not_change_the_content(tmp_path: Path) -> None:
    _, artifact, evaluation, data = variant(tmp_path)
    made = build(tmp_path, artifact)
    moved = dataclasses.replace(made, directory=Path("/x"), elf=Path("/y"), model_path=Path("/z"))
    assert boards.board_content(made, None) == boards.board_content(moved, None)
    other = dataclasses.replace(made, firmware_sha256="other")
    assert boards.board_content(made, None) != boards.board_content(other, None)
    elsewhere = {name: {**d, "path": "/elsewhere"} for name, d in data.items()}
    here = schema.variant_content(artifact, evaluation, data)
    assert here == schema.variant_content(artifact, evaluation, elsewhere)
    changed = {**data, "validation": {**data["validation"], "sha256": "0" * 64}}
    assert here != schema.variant_content(artifact, evaluation, changed)
    relabelled = dataclasses.replace(artifact, labels=("b", "a"))
    assert here != schema.variant_content(relabelled, evaluation, data)


@given(
    st.floats(allow_nan=False), sizes, words, st.sampled_from(["accuracy", "auc", "rmse", "mae"])
)
def test_a_version_comes_back(value: float, size: int, source: str, metric: str) -> None:
    artifact = Artifact(
        Path("a"), HASH, size, "int8", source, "s" * 64, "", metric=metric, task="classify"
    )
    evaluation = Evaluation(HASH, "d" * 64, "validation", "aot", metric, value, 10)
    tags = schema.version_tags(artifact, evaluation, DATA)
    tags |= {"selected.b1": "run7", "rejected.b2": "too large"}
    assert schema.read_version("m", "3", "run", tags, ["b1"], "words") == schema.VersionRecord(
        name="m",
        version="3",
        run_id="run",
        variant=f"{source}-int8",
        recipe="int8",
        source=source,
        model_sha256=HASH,
        size_bytes=size,
        metric=metric,
        value=value,
        aliases=("b1",),
        selected={"b1": "run7"},
        rejected={"b2": "too large"},
        description="words",
        content=tags[schema.TAG_CONTENT],
    )


def test_versions_of_others_are_left_alone() -> None:
    assert schema.read_version("m", "1", "run", {"mine": "yes"}) is None


@pytest.mark.parametrize("broken", ["variant", "accuracy", "model_bytes"])
def test_a_version_that_was_edited_is_named(tmp_path: Path, broken: str) -> None:
    _, artifact, evaluation, data = variant(tmp_path)
    tags = schema.version_tags(artifact, evaluation, data)
    del tags[broken]
    with pytest.raises(RegistryError, match="version 4 of m cannot be read") as caught:
        schema.read_version("m", "4", "run", tags)
    assert caught.value.hint


@given(
    st.sampled_from(["flash", "ram"]),
    st.builds(
        Constraints,
        min_metric=st.none() | st.floats(0, 1),
        max_ram_bytes=st.none() | sizes,
        max_latency_us=st.none() | positive,
        board_flash_bytes=st.none() | sizes,
    ),
)
def test_constraints_come_back(objective: str, constraints: Constraints) -> None:
    key, value = schema.selection_tag("b", objective, constraints)
    assert schema.read_selection_tag("b", {key: value}) == (objective, constraints)
    assert schema.read_selection_tag("other", {key: value}) is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"objective": "flash", "unknown": 1}'])
def test_a_selection_that_was_edited_is_named(text: str) -> None:
    with pytest.raises(RegistryError, match=r"selection\.b"):
        schema.read_selection_tag("b", {"selection.b": text})

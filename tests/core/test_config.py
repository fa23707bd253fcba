"""Configuration: documented keys, unknown ones are errors with file, line and field."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinydeploy.config import Config, DataConfig, LimitsConfig, load_config
from tinydeploy.errors import UsageError

GOOD = """\
name = "fashion"
sources = ["nets/small.keras"]
devices = ["qemu-cortex-m4"]
registry = ".."

[data]
validation = "v.npz"

[limits]
min_metric = 1
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tinydeploy.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert config.sources == (tmp_path / "nets/small.keras",)
    assert config.registry == tmp_path.parent
    assert config.work == tmp_path / ".tinydeploy"
    assert config.limits.min_metric == 1.0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (GOOD.replace("min_metric", "min_metrik"), ":10: [limits] min_metrik: unknown key"),
        (GOOD.replace("registry", "regstry"), ":4: regstry: unknown key"),
        (GOOD.replace('"v.npz"', "3"), ":7: [data] validation: expected"),
        (GOOD.replace("min_metric = 1", 'min_metric = "1"'), ":10: [limits] min_metric: expected"),
        (GOOD.replace('name = "fashion"', ""), "the key 'name' is missing"),
        (GOOD.replace('"fashion"', '"a b"'), "name 'a b' is not a name"),
        (GOOD.replace('["qemu-cortex-m4"]', "[]"), "devices is empty"),
        (GOOD + "[device_limits.host]\n", "[device_limits.host]"),
        (GOOD + "= 3", "not valid TOML"),
        (GOOD.replace("registry", 'engine = "x"\nregistry'), ":4: engine: expected one of 'aot'"),
        (GOOD.replace("registry", "measure_samples = true\nregistry"), "expected an integer"),
    ],
)
def test_a_wrong_key_names_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(UsageError) as e:
        load_config(write(tmp_path, text))
    assert place in e.value.message


def test_an_unknown_key_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as e:
        load_config(write(tmp_path, GOOD.replace("devices", "device")))
    assert "devices" in e.value.hint


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_config(tmp_path / "none.toml")


@given(st.text(max_size=200))
def test_any_text_gives_a_configuration_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UsageError):
        load_config(path)


def test_every_key_is_documented(root: Path) -> None:
    page = (root / "docs" / "configuration.md").read_text()
    for cls in (Config, DataConfig, LimitsConfig):
        for f in dataclasses.fields(cls):
            assert f"`{f.name}`" in page, f"{cls.__name__}.{f.name} is not in docs/"

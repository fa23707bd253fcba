"""A version leaves as a bundle and comes back on another machine, byte for byte."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import answer
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tinydeploy.cli.bundling import _images
from tinydeploy.cli.main import run as exit_code
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.platformio import load_build
from tinydeploy.devices.upload import uf2
from tinydeploy.registry import keys
from tinydeploy.registry.mlflow import MlflowRegistry

BOARD = "qemu-cortex-m4"
TARGET = f"kws@{BOARD}"


@pytest.fixture
def bundle(released: Path, tmp_path: Path) -> Path:
    answer("export", TARGET, "-o", tmp_path / "a.zip", "--registry", released)
    return tmp_path / "a.zip"


def test_there_and_back_again(bundle: Path, released: Path, tmp_path: Path) -> None:
    """The same bytes on both machines, and the same answers."""
    other = tmp_path / "other"
    made = answer("import", bundle, "--registry", other)
    assert made["name"] == "kws" and made["version"] == "1" and made["selected"]
    assert answer("import", bundle, "--registry", other) == made
    for words in (("verify", "kws"), ("verify", TARGET)):
        checked = answer(*words, "--registry", other)
        assert [c["part"] for c in checked] == ["model", "firmware"]
        assert not any(c["problems"] for c in checked)
    answer("export", TARGET, "-o", tmp_path / "b.zip", "--registry", other)
    assert (tmp_path / "b.zip").read_bytes() == bundle.read_bytes()

    here, there = MlflowRegistry(released), MlflowRegistry(other)
    one, two = here.view("kws").records[0], there.view("kws").records[0]
    assert (one.build_id, one.footprint, one.instructions, one.origin) == (
        two.build_id, two.footprint, two.instructions, two.origin,
    )  # fmt: skip
    assert there.resolve(f"models:/{TARGET}").sha256 == here.resolve(f"models:/{TARGET}").sha256
    assert there.evaluation("kws", "1") == here.evaluation("kws", "1")


def test_the_hint_of_verify_mends(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    answer("import", bundle, "--registry", other)
    (firmware,) = other.rglob("firmware.bin")
    for name in ("firmware.bin", "build.json", "manifest.json"):
        firmware.with_name(name).write_bytes(b"x")
        assert exit_code(["verify", "kws", "--registry", str(other)]) == 7
        said = re.search(r"hint: remove (\S+), then import", capsys.readouterr().err)
        assert said
        shutil.rmtree(said[1])
        answer("import", bundle, "--registry", other)
        assert exit_code(["verify", "kws", "--registry", str(other)]) == 0
        (firmware,) = other.rglob("firmware.bin")


def test_a_choice_that_was_made_here_stays(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    answer("import", bundle, "--registry", other)
    again = answer("import", bundle, "--registry", other, "--name", "doorbell")
    assert (again["name"], again["selected"]) == ("doorbell", True)
    assert MlflowRegistry(other).models() == ["doorbell", "kws"]


def test_what_is_in_it(bundle: Path, released: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        entries = archive.infolist()
        archive.extractall(tmp_path / "x")
    names = [e.filename for e in entries]
    assert names == sorted(names)
    assert {e.date_time for e in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {e.external_attr >> 16 for e in entries} == {0o100644}
    wanted = {
        "LICENSE", "MODEL_CARD.md", "manifest.json", "sbom.cdx.json", "model/MLmodel",
        "model/model.tflite", "evaluation.json", "firmware/firmware.elf", "firmware/firmware.bin",
        "firmware/build.json", "firmware/measurement.json", "images/firmware.hex",
        "source/td_model.c",
    }  # fmt: skip
    assert wanted <= set(names)
    folder = tmp_path / "x"
    assert (folder / "firmware/firmware.bin").read_bytes() == (
        released / "build" / "firmware.bin"
    ).read_bytes()
    card = (folder / "MODEL_CARD.md").read_text()
    assert "accuracy" in card and "## On qemu" in card and "2 of 2" in card
    everything = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    for place in (str(released), str(tmp_path)):
        assert place.encode() not in everything


def test_the_hex_file_is_the_firmware(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "x")
    images, firmware = tmp_path / "x" / "images", tmp_path / "x" / "firmware"
    command = ["arm-none-eabi-objcopy", "-I", "ihex", "-O", "binary"]
    subprocess.run([*command, images / "firmware.hex", tmp_path / "y.bin"], check=True)
    assert (tmp_path / "y.bin").read_bytes() == (firmware / "firmware.bin").read_bytes()


def test_a_board_with_a_uf2_boot_loader_gets_the_firmware_as_uf2(
    released: Path, tmp_path: Path
) -> None:
    """As of a version that was registered before builds had the file; else it is the build's."""
    upload = {"protocol": "uf2", "uf2_family": "0xada52840", "address": "0x00000000"}
    device = replace(find(BOARD), upload=upload)
    build = load_build(released / "build")
    _images(build, device, tmp_path / "images", None)
    blocks = uf2.read((tmp_path / "images" / "firmware.uf2").read_bytes())
    content = b"".join(block.data for block in blocks)
    image = (released / "build" / "firmware.bin").read_bytes()
    assert content == image.ljust(len(content), b"\0")
    assert {block.family for block in blocks} == {0xADA52840}
    assert blocks[0].address == device.flash_origin
    _images(build, find(BOARD), tmp_path / "other", None)
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["firmware.hex"]


def test_the_sources_compile_on_their_own(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "x")
    source = tmp_path / "x" / "source"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-c"]
    subprocess.run(["cc", *flags, "td_model.c"], cwd=source, check=True)


def test_the_bill_of_materials(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        text = archive.read("sbom.cdx.json").decode()
        manifest = json.loads(archive.read("manifest.json"))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert "timestamp" not in bom["metadata"]
    firmware = bom["metadata"]["component"]
    assert firmware["type"] == "firmware"
    assert firmware["hashes"][0]["content"] == manifest["lineage"]["firmware_sha256"]
    by_type: dict[str, list[Any]] = {}
    for component in bom["components"]:
        by_type.setdefault(component["type"], []).append(component)
    models = {c["hashes"][0]["content"] for c in by_type["machine-learning-model"]}
    assert manifest["lineage"]["model_sha256"] in models
    assert by_type["library"][0]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert "arm-none-eabi-gcc" in {c["name"] for c in by_type["application"]}
    assert [c["name"] for c in by_type["data"]] == ["validation"]


def test_signed_and_for_mcuboot(released: Path, tmp_path: Path) -> None:
    from tinydeploy.devices.mcuboot import check_image
    from tinydeploy.errors import DeviceError

    made = answer("keys", "new", "me", "--out", tmp_path)
    out = tmp_path / "s.zip"
    words = ("--key", made["private"], "--mcuboot", made["private"], "--mcuboot-version", "1.2.3+4")
    answer("export", TARGET, "-o", out, "--registry", released, *words)
    assert exit_code(["import", str(out), "--registry", str(tmp_path / "o"),
                      "--require-signature"]) == 7  # fmt: skip
    answer("keys", "trust", made["public"])
    assert answer("keys", "show")[0]["key_id"] == made["key_id"]
    answer("import", out, "--registry", tmp_path / "o", "--require-signature")
    checked = answer("verify", "kws", "--registry", tmp_path / "o", "--require-signature")
    assert {c["signature"] for c in checked} == {"trusted"}

    with zipfile.ZipFile(out) as archive:
        archive.extract("images/firmware.mcuboot.bin", tmp_path)
    image = tmp_path / "images" / "firmware.mcuboot.bin"
    public = Path(made["public"])
    assert check_image(image, public) == "1.2.3+4"
    data = image.read_bytes()
    for at in (0, len(data) // 2, -1):
        changed = bytearray(data)
        changed[at] ^= 1
        image.write_bytes(changed)
        with pytest.raises(DeviceError):
            check_image(image, public)
    image.write_bytes(data)
    _, stranger = keys.new_key(tmp_path, "stranger")
    with pytest.raises(DeviceError, match="refused"):
        check_image(image, stranger.path)


def test_another_import_of_the_same_replaces_the_run(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server the newest of several runs stays, whoever made it."""
    bundle = tmp_path / "kws.zip"
    answer("export", TARGET, "-o", bundle, "--registry", released)
    record = MlflowRegistry.record

    def replaced(registry: MlflowRegistry, *given: Any, **named: Any) -> str:
        record(registry, *given, **named)
        return "0" * 32

    monkeypatch.setattr(MlflowRegistry, "record", replaced)
    made = answer("import", bundle, "--registry", tmp_path / "o")
    view = MlflowRegistry(tmp_path / "o").view("kws")
    assert made["selected"] and made["run_id"] == view.records[0].run_id


def test_what_cannot_be_exported(released: Path, tmp_path: Path) -> None:
    for words, code in (
        (("kws", "-o", tmp_path / "a.zip"), 2),
        ((TARGET, "-o", tmp_path / "a.tar"), 2),
        (("kws@nano", "-o", tmp_path / "a.zip"), 7),
        (("other@nano", "-o", tmp_path / "a.zip"), 7),
        ((TARGET, "-o", tmp_path / "a.zip", "--key", tmp_path / "none.pem"), 2),
        ((TARGET, "-o", tmp_path / "a.zip", "--mcuboot-slot", "5"), 2),
    ):
        assert exit_code(["export", *map(str, words), "--registry", str(released)]) == code
    assert list(tmp_path.glob("a.*")) == []


def test_without_the_extra_it_says_what_to_install(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import sys

    for package, words in (
        ("cyclonedx.model", ["export", TARGET, "-o", "a.zip", "--registry", str(released)]),
        ("cryptography.hazmat.primitives", ["keys", "new", "me", "--out", str(tmp_path)]),
    ):
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setitem(sys.modules, package, None)
            assert exit_code(words) == 6
        assert "tinydeploy[release]" in capsys.readouterr().err


@pytest.mark.qemu
def test_a_folder_is_flashed_only_unchanged(released: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    assert exit_code(["flash", str(build)]) == 0
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=build, check=True)
    for name in ("firmware.elf", "firmware.bin", "model.tflite", "SHA256SUMS"):
        before = (build / name).read_bytes()
        changed = bytearray(before)
        changed[len(before) // 3] ^= 1
        (build / name).write_bytes(changed)
        assert exit_code(["flash", str(build)]) == 6
        assert exit_code(["measure", str(build)]) == 6
        (build / name).write_bytes(before)

"""What is installed, and what is said about what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinydeploy.devices import doctor, toolchain
from tinydeploy.errors import DeviceError, ToolMissingError


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_here_all_is_well() -> None:
    found = doctor.checks()
    assert [c.name for c in found if not (c.ok or c.optional)] == []
    assert {"arm-none-eabi-gcc", "qemu-system-riscv32", "platformio"} <= {c.name for c in found}
    assert all(c.detail and c.ok is not bool(c.hint) for c in found)


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = {c.name: c for c in doctor.checks() if not c.ok}
    assert set(missing) == set(toolchain.PACKAGES)
    for name, check in missing.items():
        assert toolchain.PACKAGES[name] in check.hint


def test_packages_that_only_some_recipes_need() -> None:
    found = {c.name: c for c in doctor.checks()}
    assert found["tensorflow-model-optimization"].optional
    absent = doctor._optional_package("no-such-package", "nothing needs it", "tinydeploy[qat]")
    assert absent.optional and not absent.ok
    assert "nothing needs it" in absent.detail and absent.hint == "pip install 'tinydeploy[qat]'"


@pytest.mark.parametrize(("version", "ok"), [("7.2.1", True), ("8.0.0", True), ("9.1.0", False)])
def test_qemu_must_load_the_counter(
    version: str, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "qemu-system-arm", f"echo 'QEMU emulator version {version} (somewhere)'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    check = next(c for c in doctor.checks() if c.name == "qemu-system-arm")
    assert check.ok == ok and version in check.detail


def test_a_program_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "gcc", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="does not run"):
        toolchain.compiler_version("")
    check = next(c for c in doctor.checks() if c.name == "gcc")
    assert not check.ok and check.hint


def test_versions_and_missing_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toolchain.compiler_version("arm-none-eabi-").startswith("arm-none-eabi-gcc 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError) as caught:
        toolchain.require("no-such-program")
    assert "no-such-program" in caught.value.hint

"""What was changed is refused wherever it could enter: a table of place x kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tinydeploy.cli.main import run
from tinydeploy.registry import archive, keys, signing
from tinydeploy.registry.folder import import_mlflow
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.store import sha256_file

BOARD = "qemu-cortex-m4"
TARGET = f"kws@{BOARD}"


class Kit:
    """A signed registry, a signed bundle, a signed folder of `build`; the key is trusted."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        self.bundle, self.build = root / "kws.zip", root / "build"
        self.folders = self._find()

    def _find(self) -> dict[str, Path]:
        registry = MlflowRegistry(self.root)
        view = registry.view("kws")
        return {
            "model": registry.run_folder("kws", view.versions[0].run_id) / "model",
            "firmware": registry.run_folder("kws", view.records[0].run_id),
        }


@pytest.fixture(scope="module")
def signed(released_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit as it is before anything is changed; `config/` trusts its key."""
    place = tmp_path_factory.mktemp("signed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYDEPLOY_CONFIG", str(place / "config"))
        private, public = keys.new_key(place, "me")
        keys.trust(public.path)
        words = ("export", TARGET, "--key", private, "--registry", released_once)
        assert run([*map(str, words), "-o", str(place / "kws.zip")]) == 0
        # A registry of its own: what is changed in it is not the others'.
        assert run(["import", str(place / "kws.zip"), "--registry", str(place)]) == 0
        shutil.copytree(released_once / "build", place / "build")
        assert run(["sign", str(place / "build"), "--key", str(private)]) == 0
    return place


@pytest.fixture
def kit(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """A copy of it, to be changed. A moved registry can be read; that is all that is done."""
    shutil.copytree(signed, tmp_path / "kit")
    return unchanged(signed, tmp_path, monkeypatch, tmp_path / "kit")


def unchanged(signed: Path, scratch: Path, patch: pytest.MonkeyPatch, root: Path) -> Kit:
    """The kit at `root`, signatures required."""
    patch.setenv("TINYDEPLOY_CONFIG", str(signed / "config"))
    patch.setenv("TINYDEPLOY_STATE", str(scratch / "state"))
    patch.setenv("TINYDEPLOY_REQUIRE_SIGNATURE", "1")
    return Kit(root, scratch)


# ---------------------------------------------------------------- places
def verify(kit: Kit) -> int:
    return run(["verify", TARGET, "--registry", str(kit.root)])


def verify_bundle(kit: Kit) -> int:
    return run(["verify", str(kit.bundle)])


def import_(kit: Kit) -> int:
    code = run(["import", str(kit.bundle), "--registry", str(kit.scratch / "other")])
    if code:
        assert not (kit.scratch / "other" / "mlruns").exists()
    return code


def flash_registered(kit: Kit) -> int:
    return run(["flash", TARGET, "--registry", str(kit.root)])


def flash_bundle(kit: Kit) -> int:
    return run(["flash", str(kit.bundle)])


def flash_folder(kit: Kit) -> int:
    return run(["flash", str(kit.build)])


def export(kit: Kit) -> int:
    return run(
        ["export", TARGET, "--registry", str(kit.root), "-o", str(kit.scratch / "again.zip")]
    )


def deployments(kit: Kit) -> int:
    import_mlflow()
    from mlflow.deployments import get_deploy_client

    from tinydeploy.registry.deployments import DeploymentError

    client = get_deploy_client(f"tinydeploy:/{BOARD}")
    try:
        client.create_deployment("b", f"models:/{TARGET}", config={"registry": str(kit.root)})
    except DeploymentError as e:
        assert client.list_deployments() == []
        return e.exit_code
    return 0


def pyfunc(kit: Kit) -> int:
    from tinydeploy.errors import TinydeployError

    try:
        import_mlflow().pyfunc.load_model(str(kit.folders["model"]))
    except TinydeployError as e:
        return e.exit_code
    return 0


REGISTRY = (verify, flash_registered, export, deployments)
BUNDLE = (verify_bundle, import_, flash_bundle)
PLACES = (*REGISTRY, *BUNDLE, flash_folder, pyfunc)

# ---------------------------------------------------------------- kinds
KINDS = {
    "model": ("model", "model.tflite"),
    "firmware": ("firmware", "firmware.elf"),
    "image": ("firmware", "firmware.bin"),
    "build": ("firmware", "build.json"),
    "manifest": ("model", "manifest.json"),
    "firmware manifest": ("firmware", "manifest.json"),
    "signature": ("model", "signature.json"),
    "firmware signature": ("firmware", "signature.json"),
}


def flip(path: Path) -> None:
    """One bit of a byte in the middle; the size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change(
    kit: Kit, place: Callable[[Kit], int], action: Callable[[dict[str, Path]], None]
) -> None:
    """Apply an action to the folders `model` and `firmware` of a place, `top` of a bundle."""
    if place in BUNDLE:
        folder = kit.scratch / "unpacked"
        archive.unpack(kit.bundle, folder)
        action({"model": folder / "model", "firmware": folder / "firmware", "top": folder})
        archive.pack(folder, kit.bundle)
    elif place is flash_folder:
        action({"model": kit.build, "firmware": kit.build, "top": kit.build})
    else:
        action({**kit.folders, "top": kit.folders["model"]})


def applies(place: Callable[[Kit], int], kind: str) -> bool:
    """A model that MLflow loads has no firmware, a folder of `build` has no manifest."""
    if place is pyfunc:
        return KINDS[kind][0] == "model"
    return place is not flash_folder or "manifest" not in kind


CASES = [(p, k) for p in PLACES for k in KINDS if applies(p, k)]


@pytest.mark.parametrize(
    ("place", "kind"), CASES, ids=[f"{p.__name__}-{k.replace(' ', '_')}" for p, k in CASES]
)
def test_a_changed_bit_is_refused(kit: Kit, place: Callable[[Kit], int], kind: str) -> None:
    folder, name = KINDS[kind]
    change(kit, place, lambda folders: flip(folders[folder] / name))
    assert place(kit) == 7


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "signature.json",
        "LICENSE",
        "source/td_model.c",
        "sbom.cdx.json",
        "images/firmware.hex",
        "evaluation.json",
    ],
)
@pytest.mark.parametrize("place", BUNDLE, ids=lambda p: p.__name__)
def test_every_part_of_a_bundle(kit: Kit, place: Callable[[Kit], int], name: str) -> None:
    change(kit, place, lambda folders: flip(folders["top"] / name))
    assert place(kit) == 7


def forge(folders: dict[str, Path]) -> None:
    """Other weights, and every manifest made to match them: all that can be had without the key."""
    flip(folders["model"] / "model.tflite")
    sha256 = sha256_file(folders["model"] / "model.tflite")
    for folder in dict.fromkeys(folders.values()):
        if not (path := folder / "manifest.json").exists():
            continue
        manifest = json.loads(path.read_text())
        manifest["lineage"]["model_sha256"] = sha256
        for key in ("model", "firmware"):
            if f"{key}_manifest_sha256" in manifest["lineage"]:
                part = sha256_file(folders[key] / "manifest.json")
                manifest["lineage"][f"{key}_manifest_sha256"] = part
        for file, entry in manifest["files"].items():
            entry["sha256"] = sha256_file(folder / file)
        path.write_text(json.dumps(manifest))
    build = folders["firmware"] / "build.json"
    if build.exists():
        build.write_text(json.dumps({**json.loads(build.read_text()), "model_sha256": sha256}))


def strip(folders: dict[str, Path]) -> None:
    for folder in dict.fromkeys(folders.values()):
        (folder / "signature.json").unlink()


def resign(folders: dict[str, Path]) -> None:
    """Signed again, by somebody whom nobody trusts."""
    place = folders["top"].parent / "stranger"
    private, _ = keys.new_key(place, "stranger")
    for folder in dict.fromkeys(folders.values()):
        signing.sign_folder(folder, "kws", private)
    shutil.rmtree(place)


@pytest.mark.parametrize("action", [forge, strip, resign], ids=lambda a: a.__name__)
@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
def test_what_somebody_without_the_key_can_do(
    kit: Kit, place: Callable[[Kit], int], action: Callable[[dict[str, Path]], None]
) -> None:
    change(kit, place, action)
    assert place(kit) == 7


@pytest.mark.qemu
@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
def test_what_was_not_changed_is_accepted(
    signed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[[Kit], int],
) -> None:
    assert place(unchanged(signed, tmp_path, monkeypatch, signed)) == 0

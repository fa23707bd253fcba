"""Every byte of what is registered is hashed, and a changed one is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from family import BOARD, build, measurement, variant

from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.lineage import Lineage, tool_versions
from tinydeploy.registry import keys, signing
from tinydeploy.registry.integrity import Checked, require_intact, sign, verify
from tinydeploy.registry.manifest import read_manifest
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.store import sha256_file

MADE = Lineage("e" * 64, {"compiler": "1" * 64, "firmware": "2" * 64}, tool_versions())


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYDEPLOY_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("TINYDEPLOY_REQUIRE_SIGNATURE", raising=False)


@pytest.fixture
def family(registry: MlflowRegistry, tmp_path: Path) -> MlflowRegistry:
    """One version with one run on a board."""
    source, artifact, evaluation, data = variant(tmp_path)
    registry.register("family", source, artifact, evaluation, data, MADE)
    made = build(tmp_path / "b", artifact)
    (made.directory / "firmware.bin").write_bytes(made.elf.read_bytes())
    registry.record("family", "1", made, measurement(made), MADE)
    return registry


def found(registry: MlflowRegistry) -> dict[str, Checked]:
    return {c.board or "model": c for c in verify(registry, "family")}


def test_all_is_well(family: MlflowRegistry) -> None:
    checked = found(family)
    assert set(checked) == {"model", BOARD}
    for c in checked.values():
        assert require_intact(c).problems == ()
        assert (c.signature, c.files > 2, c.bytes > 100) == ("unsigned", True, True)


def test_the_manifest_names_what_it_came_from(family: MlflowRegistry, tmp_path: Path) -> None:
    source, artifact, _, data = variant(tmp_path)
    checked = found(family)
    model = read_manifest(checked["model"].folder)["lineage"]
    assert model["source"]["sha256"] == source.sha256
    assert model["model_sha256"] == artifact.sha256
    assert model["recipe"] == {"name": "int8", "sha256": MADE.recipe_sha256}
    assert {k: d["sha256"] for k, d in model["data"].items()} == {
        k: d["sha256"] for k, d in data.items()
    }
    assert model["tools"]["tinydeploy"] == tool_versions()["tinydeploy"]
    board = read_manifest(checked[BOARD].folder)["lineage"]
    assert board["firmware_sha256"] == sha256_file(checked[BOARD].folder / "firmware.bin")
    assert len(board["engine"]["sha256"]) == 64
    assert (board["compiler"], board["board"]) == ("arm-none-eabi-gcc 12.2.1", BOARD)


def flip(path: Path, at: int = -1) -> None:
    """Change one byte, keep the size."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_changed_byte_is_found_in_every_file(family: MlflowRegistry) -> None:
    for what, checked in found(family).items():
        for path in sorted(checked.folder.iterdir()):
            before = path.read_bytes()
            for at in (0, len(before) // 2, -1):
                flip(path, at)
                problems = found(family)[what].problems
                assert path.name in [p.file for p in problems], f"{path} at {at}"
                path.write_bytes(before)
        assert not found(family)[what].problems


def test_the_evaluation_is_a_part_of_it(family: MlflowRegistry) -> None:
    flip(found(family)["model"].folder.parent / "evaluation.json", 20)
    (problem,) = found(family)["model"].problems
    assert problem.file == "evaluation.json"


def test_a_missing_and_an_additional_file(family: MlflowRegistry) -> None:
    folder = found(family)[BOARD].folder
    (folder / "measurement.json").unlink()
    (folder / "other.txt").write_text("x")
    assert [(p.file, p.reason) for p in found(family)[BOARD].problems] == [
        ("measurement.json", "is missing"),
        ("other.txt", "is not listed in the manifest"),
    ]
    with pytest.raises(RegistryError, match=r"measurement\.json is missing") as e:
        require_intact(found(family)[BOARD])
    assert e.value.exit_code == 7


def test_a_manifest_made_to_match_is_not_the_registered_one(family: MlflowRegistry) -> None:
    folder = found(family)["model"].folder
    flip(folder / "README.md", 4)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["README.md"]["sha256"] = sha256_file(folder / "README.md")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (problem,) = found(family)["model"].problems
    assert problem.file == "manifest.json"


# ---------------------------------------------------------------- signatures
def test_signed_untrusted_trusted(family: MlflowRegistry, tmp_path: Path) -> None:
    private, public = keys.new_key(tmp_path / "keys", "me")
    assert private.stat().st_mode & 0o777 == 0o600
    assert {c.signature for c in sign(family, "family", "1", private)} == {"untrusted"}
    with pytest.raises(RegistryError, match="not trusted"):
        require_intact(found(family)["model"], signed=True)
    keys.trust(public.path)
    for c in found(family).values():
        assert require_intact(c, signed=True).signature == "trusted"
        assert c.key_id == public.key_id
    keys.distrust(public.key_id[:12])
    assert {c.signature for c in found(family).values()} == {"untrusted"}


def test_a_signature_that_was_changed_removed_or_belongs_elsewhere(
    family: MlflowRegistry, tmp_path: Path
) -> None:
    private, public = keys.new_key(tmp_path, "me")
    keys.trust(public.path)
    sign(family, "family", "1", private)
    folders = {k: c.folder for k, c in found(family).items()}
    path = folders["model"] / "signature.json"
    signed = path.read_text()
    bundle = json.loads(signed)
    for key, value in (
        ("sig", bundle["dsseEnvelope"]["signatures"][0]["sig"][:-8] + "AAAAAA=="),
        ("keyid", "0" * 64),
    ):
        changed = json.loads(signed)
        changed["dsseEnvelope"]["signatures"][0][key] = value
        path.write_text(json.dumps(changed))
        assert found(family)["model"].signature == "invalid"
    path.write_text((folders[BOARD] / "signature.json").read_text())
    assert found(family)["model"].signature == "invalid"
    path.unlink()
    (problem,) = found(family)["model"].problems
    assert (problem.file, problem.reason) == ("signature.json", "is missing: it was signed")


def test_nothing_changed_is_signed(family: MlflowRegistry, tmp_path: Path) -> None:
    private, _ = keys.new_key(tmp_path, "me")
    flip(found(family)[BOARD].folder / "firmware.elf")
    with pytest.raises(RegistryError, match=r"firmware\.elf"):
        sign(family, "family", "1", private)
    assert {c.signature for c in found(family).values()} == {"unsigned"}


def test_the_signature_has_the_shape_of_model_signing(tmp_path: Path) -> None:
    import base64
    import hashlib

    private, public = keys.new_key(tmp_path / "k", "me")
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a").write_text("1")
    (folder / "b").write_text("2")
    signing.sign_folder(folder, "thing", private)
    bundle = json.loads((folder / "signature.json").read_text())
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    statement = json.loads(payload)
    digests = [hashlib.sha256(b).digest() for b in (b"1", b"2")]
    assert statement["subject"] == [
        {"name": "thing", "digest": {"sha256": hashlib.sha256(b"".join(digests)).hexdigest()}}
    ]
    assert [r["digest"] for r in statement["predicate"]["resources"]] == [d.hex() for d in digests]
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == public.key_id
    # DSSE: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body
    kind = "application/vnd.in-toto+json"
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    assert public.verifies(signature, message)
    assert not public.verifies(signature, payload)


def test_keys_are_never_replaced_and_others_are_refused(tmp_path: Path) -> None:
    private, public = keys.new_key(tmp_path, "me")
    with pytest.raises(UsageError, match="exists"):
        keys.new_key(tmp_path, "me")
    assert keys.load_public(private).key_id == public.key_id
    with pytest.raises(UsageError, match="no private key"):
        keys.load_private(public.path)
    with pytest.raises(UsageError, match="cannot name a key"):
        keys.new_key(tmp_path, "../me")
    (tmp_path / "noise.pem").write_bytes(b"\0" * 100)
    with pytest.raises(UsageError, match="no public key"):
        keys.trust(tmp_path / "noise.pem")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "ec.pem").write_bytes(
        other.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        keys.trust(tmp_path / "ec.pem")
    assert keys.trusted() == {}

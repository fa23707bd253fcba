"""Signatures of folders: a Sigstore bundle with a DSSE envelope around an in-toto statement.

`signature.json` has the shape of OpenSSF model signing v1.0: the statement's subject is the
folder with a digest over the digests of its files, its predicate
`https://model_signing/signature/v1.0` lists each file. The one difference is the key: Ed25519
(RFC 8032), which that project's own tool does not take (it has ECDSA). Sources: the DSSE protocol
(pre-authentication encoding), in-toto Statement v1, and the model signing format v1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tinydeploy.errors import RegistryError
from tinydeploy.registry import keys
from tinydeploy.registry.manifest import MANIFEST_FILE, SIGNATURE_FILE, UNLISTED, content
from tinydeploy.store import parse_json, read_json, sha256_file, write_json

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_MAX_BYTES = 4_000_000

Status = Literal["unsigned", "trusted", "untrusted", "invalid"]


@dataclass(frozen=True)
class Verdict:
    """What a folder's signature is worth, and why; `key_id` is who claims to have signed.

    "untrusted" is a signature by a key that is not trusted: nothing can be said about it.
    """

    status: Status
    reason: str = ""
    key_id: str = ""
    file: str = SIGNATURE_FILE


def sign_folder(folder: Path, name: str, private_key: Path) -> keys.PublicKey:
    """Sign all files of a folder, its manifest included, under a name; the key's public half.

    Replaces a signature that is there.
    """
    private, public = keys.load_private(private_key), keys.load_public(private_key)
    payload = json.dumps(_statement(folder, name), indent=2, sort_keys=True).encode()
    signature = private.sign(pre_authentication(PAYLOAD_TYPE, payload))
    write_json(
        folder / SIGNATURE_FILE,
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": public.key_id}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"sig": base64.b64encode(signature).decode(), "keyid": public.key_id}
                ],
            },
        },
    )
    return public


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """DSSE's PAE: what is signed instead of the payload alone."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def check_signature(folder: Path) -> Verdict:
    """Whether the folder is signed by a trusted key, and every file is the one that was signed."""
    path = folder / SIGNATURE_FILE
    if not path.exists():
        return Verdict("unsigned", "there is no signature")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        bundle = read_json(path)
        if bundle["mediaType"] != MEDIA_TYPE:
            raise ValueError(f"media type {bundle['mediaType']!r}")
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        (given,) = envelope["signatures"]
        signature = base64.b64decode(given["sig"], validate=True)
        key_id, hint = given["keyid"], bundle["verificationMaterial"]["publicKey"]["hint"]
        kind = envelope["payloadType"]
        if key_id != hint or not isinstance(key_id, str):
            raise ValueError("it names two keys")
        if kind != PAYLOAD_TYPE:
            raise ValueError(f"payload type {kind!r}")
        statement = parse_json(payload)
        signed = _signed_files(statement)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, binascii.Error) as e:
        return Verdict("invalid", f"the signature is malformed: {e}")
    key = keys.trusted().get(key_id)
    if key is None:
        if wrong := _difference(folder, signed):
            return Verdict("invalid", f"{wrong[0]} {wrong[1]}", key_id, wrong[0])
        return Verdict("untrusted", f"the key {key_id[:16]} is not trusted", key_id)
    if not key.verifies(signature, pre_authentication(kind, payload)):
        return Verdict("invalid", "the signature does not belong to what it signs", key_id)
    if wrong := _difference(folder, signed):
        return Verdict("invalid", f"{wrong[0]} {wrong[1]}", key_id, wrong[0])
    return Verdict("trusted", "", key_id)


def require_signature(folder: Path, what: str, required: bool) -> Verdict:
    """The verdict on a folder. Raises RegistryError if it is invalid, or missing but required."""
    verdict = check_signature(folder)
    if verdict.status == "invalid" or (required and verdict.status != "trusted"):
        hint = {
            "unsigned": "sign it with `tinydeploy sign`, or do not require a signature",
            "untrusted": "`tinydeploy keys trust KEY.pub.pem`, if you know whose it is",
        }.get(verdict.status, "do not use it: get it again from where it comes")
        raise RegistryError(f"{what} is refused: {verdict.reason}", hint=hint)
    return verdict


def _statement(folder: Path, name: str) -> dict[str, Any]:
    resources = [
        {"name": n, "algorithm": "sha256", "digest": sha256_file(folder / n)}
        for n in _names(folder)
    ]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root([r["digest"] for r in resources])}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [name for name in UNLISTED if name != MANIFEST_FILE],
            },
            "resources": resources,
        },
    }


def _signed_files(statement: Any) -> dict[str, str]:
    """File -> sha256 of a statement. Raises ValueError if it contradicts itself."""
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise ValueError("another kind of statement")
    resources = statement["predicate"]["resources"]
    if any(r["algorithm"] != "sha256" for r in resources):
        raise ValueError("another hash than sha256")
    (subject,) = statement["subject"]
    if subject["digest"]["sha256"] != _root([r["digest"] for r in resources]):
        raise ValueError("the subject's digest is not that of the files")
    found = {r["name"]: r["digest"] for r in resources}
    if len(found) != len(resources):
        raise ValueError("a file is listed twice")
    return found


def _difference(folder: Path, signed: dict[str, str]) -> tuple[str, str] | None:
    """The first file that is not the one that was signed, and what is wrong with it."""
    present = _names(folder)
    for name in sorted({*present, *signed}):
        if name not in signed:
            return name, "is not among the signed files"
        if name not in present:
            return name, "was signed and is missing"
        if sha256_file(folder / name) != signed[name]:
            return name, "is not the file that was signed"
    return None


def _names(folder: Path) -> list[str]:
    names = [*content(folder), *([MANIFEST_FILE] if (folder / MANIFEST_FILE).exists() else [])]
    for name in names:
        if (folder / name).is_symlink():
            raise RegistryError(f"{folder / name} is a link", hint="only plain files are signed")
    return sorted(names)


def _root(digests: list[str]) -> str:
    """The digest over digests: sha256 of their bytes, one after the other, in order."""
    return hashlib.sha256(b"".join(bytes.fromhex(d) for d in digests)).hexdigest()

"""Ed25519 keys in PEM files, and the keys that this user trusts.

::

    NAME.pem       private key (PKCS #8), readable by its owner only
    NAME.pub.pem   public key (SubjectPublicKeyInfo), to be given away

A key's id is the sha256 of its public PEM, as in OpenSSF model signing. Trusted keys lie as
`KEY_ID.pem` in `$TINYDEPLOY_CONFIG/trusted` (`~/.config/tinydeploy/trusted` by default).
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import ToolMissingError, UsageError
from tinydeploy.store import sha256_bytes, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_KEY_BYTES = 16_384


@dataclass(frozen=True)
class PublicKey:
    """A public key: `pem` is its canonical PEM text, `key_id` the sha256 of that."""

    pem: str
    key_id: str
    path: Path

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature of these bytes was made by the private half."""
        from cryptography.exceptions import InvalidSignature

        loaded: Any = _serialization().load_pem_public_key(self.pem.encode())
        try:
            loaded.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def new_key(folder: Path, name: str) -> tuple[Path, PublicKey]:
    """Make a key pair; the private file and the public key. Never replaces a file."""
    if not re.fullmatch(r"[\w.-]+", name, flags=re.ASCII) or name.startswith("."):
        raise UsageError(f"{name!r} cannot name a key", hint="letters, digits, dots and dashes")
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    folder.mkdir(parents=True, exist_ok=True)
    for place in (path, public):
        if place.exists():
            raise UsageError(f"{place} exists", hint="keys are never replaced: choose another name")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(secret)
    write_atomic(public, public_pem(private))
    return path, load_public(public)


def load_private(path: Path) -> Ed25519PrivateKey:
    """The private key of a PEM file. Raises UsageError for anything else."""
    serialization = _serialization()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise UsageError(
            f"{path} holds no private key that can be used: {e}",
            hint="`tinydeploy keys new NAME` makes one; keys with a password are not read",
        ) from e
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an Ed25519 key", hint="`tinydeploy keys new NAME`")
    return key


def public_pem(private: Ed25519PrivateKey) -> str:
    """The PEM text of the public half."""
    serialization = _serialization()
    pem: bytes = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


def load_public(path: Path) -> PublicKey:
    """The public key of a PEM file, private or public. Raises UsageError for anything else."""
    serialization = _serialization()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = _read(path)
    if b"PRIVATE KEY" in raw:
        pem = public_pem(load_private(path))
    else:
        try:
            key = serialization.load_pem_public_key(raw)
        except (ValueError, UnsupportedAlgorithm) as e:
            raise UsageError(f"{path} holds no public key: {e}", hint="give a .pub.pem") from e
        if not isinstance(key, Ed25519PublicKey):
            raise UsageError(f"{path} is not an Ed25519 key", hint="`tinydeploy keys new NAME`")
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()
    return PublicKey(pem, sha256_bytes(pem.encode()), path)


# ---------------------------------------------------------------- trust
def trust_folder() -> Path:
    """Where trusted keys lie: `$TINYDEPLOY_CONFIG`, or `tinydeploy` in the user's configuration."""
    root = os.environ.get("TINYDEPLOY_CONFIG") or os.path.join(
        os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "tinydeploy"
    )
    return Path(root) / "trusted"


def trust(path: Path) -> PublicKey:
    """Trust the public key of a file from now on."""
    key = load_public(path)
    kept = trust_folder() / f"{key.key_id}.pem"
    write_atomic(kept, key.pem)
    return load_public(kept)


def distrust(key_id: str) -> None:
    """Trust a key no longer. Raises UsageError if it was not trusted."""
    matches = [k for k in trusted().values() if len(key_id) >= 8 and k.key_id.startswith(key_id)]
    if len(matches) != 1:
        known = ", ".join(k[:16] for k in trusted()) or "none"
        raise UsageError(f"no trusted key {key_id!r}", hint=f"trusted: {known}")
    matches[0].path.unlink()


def trusted() -> dict[str, PublicKey]:
    """The trusted keys by id. A file that holds no key, or another than it is named, is ignored."""
    found = {}
    for path in sorted(trust_folder().glob("*.pem")):
        with contextlib.suppress(UsageError):
            key = load_public(path)
            if key.key_id == path.stem:
                found[key.key_id] = key
    return found


def signatures_required(asked: bool = False) -> bool:
    """Whether nothing may be used unsigned: asked for, or `$TINYDEPLOY_REQUIRE_SIGNATURE` is 1."""
    value = os.environ.get("TINYDEPLOY_REQUIRE_SIGNATURE", "0").lower()
    if value not in ("", "0", "1", "false", "true", "no", "yes"):
        raise UsageError(f"TINYDEPLOY_REQUIRE_SIGNATURE is {value!r}", hint="1 or 0")
    return asked or value in ("1", "true", "yes")


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read(_MAX_KEY_BYTES)
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}", hint="give a .pem file") from e


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as e:
        raise ToolMissingError(
            "signing needs the package cryptography", hint="pip install 'tinydeploy[release]'"
        ) from e
    return serialization

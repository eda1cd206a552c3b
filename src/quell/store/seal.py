"""The key that signs what leaves the database: Ed25519, made on first use, in a file that only its owner reads.

Never does: log or show the private key.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from quell.errors import InvalidInput, Problem
from quell.store.canonical import canonical

SIGNED = ("key", "signature")
"""What a signature adds to a document; everything else is what it covers, and so is ``key``."""


@dataclass(frozen=True, slots=True)
class Public:
    """Tells whether a document was signed by the holder of the key."""

    key: Ed25519PublicKey

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a PEM file. Raises ``InvalidInput``, ``OSError``."""
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidInput([Problem("not an Ed25519 public key in PEM", "key", str(path))])
        return cls(key)

    @property
    def id(self) -> str:
        """The beginning of the SHA-256 of its 32 bytes."""
        return hashlib.sha256(self.key.public_bytes_raw()).hexdigest()[:16]

    @property
    def pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_bytes(serialization.Encoding.PEM, form).decode()

    def flaw(self, document: Mapping[str, Any]) -> str | None:
        """Why this document does not count as signed by this key."""
        if document.get("key") != self.id:
            return f"it is signed by key {document.get('key')}, not by {self.id}"
        try:
            covered = {name: value for name, value in document.items() if name != "signature"}
            self.key.verify(bytes.fromhex(document["signature"]), canonical(covered))
        except (InvalidSignature, KeyError, TypeError, ValueError):
            return "its signature does not fit what it says"
        return None


@dataclass(frozen=True, slots=True)
class Seal:
    """Signs documents."""

    _key: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"Seal({self.public.id})"

    @classmethod
    def at(cls, path: Path) -> Self:
        """The key of this file; whoever comes first makes it. Raises ``InvalidInput``, ``OSError``."""
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_once(path, _pem(Ed25519PrivateKey.generate()), 0o600)
        if path.stat().st_mode & 0o077:
            raise InvalidInput([Problem("others may read the private key", "key", str(path), expected="mode 0600")])
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (TypeError, ValueError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInput([Problem("not an Ed25519 private key in PEM", "key", str(path))])
        return cls(key)

    @property
    def public(self) -> Public:
        return Public(self._key.public_key())

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with key id and signature."""
        covered = {**document, "key": self.public.id}
        return {**covered, "signature": self._key.sign(canonical(covered)).hex()}


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_once(path: Path, data: bytes, mode: int) -> None:
    """All of it, on disk, under a name that was free; or nothing. Raises ``FileExistsError``."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, refused when the name is taken
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object. Raises ``InvalidInput``."""
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise InvalidInput([Problem(f"not JSON: {error}", "syntax", name)]) from None
    if not isinstance(value, dict):
        raise InvalidInput([Problem("not a JSON object", "syntax", name)])
    return value

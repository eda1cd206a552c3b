"""The key: made once, read by its owner only, and never shown."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from quell.errors import InvalidInput
from quell.store.seal import Public, Seal, write_once


def test_it_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit.key"
    first = Seal.at(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Seal.at(path).public.id == first.public.id
    assert [one.name for one in path.parent.iterdir()] == ["audit.key"]


def test_all_who_come_at_once_have_the_same(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(Seal.at(tmp_path / "audit.key").public.id)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    Seal.at(path)
    path.chmod(0o640)
    with pytest.raises(InvalidInput, match="others may read"):
        Seal.at(path)


def test_what_is_no_such_key_is_refused(tmp_path: Path) -> None:
    curve = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for number, data in enumerate([b"", b"nonsense", curve]):
        write_once(tmp_path / f"{number}", data, 0o600)
        with pytest.raises(InvalidInput, match="Ed25519"):
            Seal.at(tmp_path / f"{number}")
        with pytest.raises(InvalidInput, match="Ed25519"):
            Public.read(tmp_path / f"{number}")


def test_the_private_key_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    seal = Seal.at(path)
    secret = "".join(path.read_text().splitlines()[1:-1])
    assert secret not in f"{seal!r} {seal} {seal.sign({})}"


def test_a_signature_covers_everything(tmp_path: Path) -> None:
    seal = Seal.at(tmp_path / "audit.key")
    signed = seal.sign({"a": 1, "b": ["x"]})
    assert seal.public.flaw(signed) is None
    for change in ({"a": 2}, {"b": []}, {"c": None}, {"signature": "zz"}, {"signature": 5}, {"key": "other"}):
        assert seal.public.flaw({**signed, **change})


def test_the_public_key_travels_as_text(tmp_path: Path) -> None:
    seal = Seal.at(tmp_path / "audit.key")
    (tmp_path / "audit.pub").write_text(seal.public.pem)
    assert Public.read(tmp_path / "audit.pub").flaw(seal.sign({"a": 1})) is None


def test_a_name_that_is_taken_stays_what_it_is(tmp_path: Path) -> None:
    write_once(tmp_path / "x", b"first", 0o640)
    with pytest.raises(FileExistsError):
        write_once(tmp_path / "x", b"second", 0o640)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("x", b"first")]

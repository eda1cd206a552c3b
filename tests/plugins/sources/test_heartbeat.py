"""A sign of life: whatever comes is one, from whoever may send it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from quell.plugins.sources.heartbeat import Params, parse, proof, verify
from quell.registry import Registry

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize("body", [b"", b"{}", b"{", b"\xff", b"0", b'{"status": "firing"}', b"backup done\n" * 1000])
def test_whatever_comes_says_that_it_lives_and_nothing_else(body: bytes) -> None:
    assert parse(body, {}, Params(), NOW) == ([], [])


def test_it_is_known_as_what_has_no_alerts() -> None:
    sources = Registry().sources
    assert [name for name, kind in sources.items() if kind.heartbeat] == ["heartbeat"]


def test_by_a_token_or_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP", "secret-of-the-backup")
    by_token, by_password = Params(token="env:BACKUP"), Params(password="env:BACKUP")
    bearer = {"authorization": "Bearer secret-of-the-backup"}
    basic = {"authorization": "Basic " + base64.b64encode(b":secret-of-the-backup").decode()}
    assert verify(bearer, b"", by_token) is None
    assert proof(bearer, b"", by_token) == "bearer token"
    assert verify(basic, b"", by_password) is None
    assert proof(basic, b"", by_password) == "basic auth"
    for headers in ({}, {"authorization": "Bearer wrong"}, basic):
        assert verify(headers, b"", by_token)
    assert verify({}, b"", Params()) is None
    monkeypatch.delenv("BACKUP")
    assert verify(bearer, b"", by_token)  # a lost secret lets nobody in

"""Tokens and sessions on both databases: made once, known by their holder alone, over when they are over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from quell import access
from quell.access import DEFAULT_S, LONGEST_S, SESSION_S, STREAM, opened, secret, well_formed
from quell.errors import Conflict, InvalidInput, NotFound
from quell.incident.access import LOCAL, SHARED, Caller, Role
from quell.incident.event import EventKind, Stream
from quell.settings import Settings
from quell.store import events, tokens
from quell.store.database import Database
from quell.store.migrate import migrate

T = TypeVar("T")
NOW = 1_795_867_200_000_000
DAY = 86_400_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database.engine)
    yield database
    database.close()


def make(database: Database, name: str = "ann", role: Role = Role.APPROVER, **more: object) -> tuple[str, str]:
    """Its id and its text."""
    made, text = database.write_now(
        lambda c: access.create(c, "acme", NOW, name=name, role=role, by="root", **more)  # type: ignore[arg-type]
    )
    return made.id, text


def holder(database: Database, text: str, now: int = NOW) -> Caller | None:
    found = database.read_now(lambda c: access.who_holds(c, text, now))
    return found[0] if found else None


def test_whoever_holds_it_is_known_until_it_ends(database: Database) -> None:
    ident, text = make(database, tenant="acme")
    assert holder(database, text) == Caller("ann", Role.APPROVER, "acme", False, ident)
    assert holder(database, text, NOW + int(DEFAULT_S) * 1_000_000) is None
    for wrong in (
        text[:-1] + ("a" if text[-1] != "a" else "b"),
        text.replace(ident, "00000000"),
        text + "x",
        "",
        ident,
    ):
        assert holder(database, wrong) is None


def test_revoked_it_counts_no_more_and_neither_do_its_sessions(database: Database) -> None:
    ident, text = make(database)
    caller = holder(database, text)
    assert caller is not None
    lasts = database.write_now(lambda c: access.begin_session(c, "cookie", caller, NOW))
    assert lasts == SESSION_S
    assert database.read_now(lambda c: access.who_signed_in(c, "cookie", NOW)) == caller
    revoked = database.write_now(lambda c: access.revoke(c, "acme", NOW, "ANN", by="root"))
    assert revoked is not None
    assert revoked.revoked_by == "root"
    assert holder(database, text) is None
    assert database.read_now(lambda c: access.who_signed_in(c, "cookie", NOW)) is None
    database.write_now(lambda c: access.begin_session(c, "late", caller, NOW))
    late = database.read_now(lambda c: access.who_signed_in(c, "late", NOW))
    assert late is None, "begun by somebody who was let in a moment before"
    with pytest.raises(Conflict, match="revoked by root"):
        database.write_now(lambda c: access.revoke(c, "acme", NOW, ident, by="eve"))
    again, _ = make(database)
    assert again != ident, "the name is free again"
    assert database.write_now(lambda c: access.revoke(c, "acme", NOW, "ann", by="root")).id == again  # type: ignore[union-attr]


def test_a_session_is_over_with_its_time_or_with_its_tokens(database: Database) -> None:
    ident, _ = make(database, lasts_s=3600)
    short = Caller("ann", Role.APPROVER, token=ident)

    def work(connection: sa.Connection) -> None:
        assert access.begin_session(connection, "short", short, NOW) == 3600
        assert access.who_signed_in(connection, "short", NOW + 3_599_000_000) == short
        assert access.who_signed_in(connection, "short", NOW + 3_600_000_000) is None
        for name in (LOCAL, SHARED):
            access.begin_session(connection, name, Caller("ann", Role.ADMIN, proxy=True, token=name), NOW)
            assert access.who_signed_in(connection, name, NOW) == Caller("ann", Role.ADMIN, None, True, name)
            assert access.who_signed_in(connection, name, NOW + DAY) is None
        access.begin_session(connection, "gone", Caller("eve", Role.ADMIN, token="12345678"), NOW)
        assert access.who_signed_in(connection, "gone", NOW) is None
        assert access.who_signed_in(connection, "none", NOW) is None
        assert access.revoke(connection, "acme", NOW, LOCAL, by="root") is None
        assert access.who_signed_in(connection, LOCAL, NOW) is None
        assert access.who_signed_in(connection, SHARED, NOW) is not None

    database.write_now(work)


def test_two_do_not_have_one_name(database: Database) -> None:
    make(database)
    with pytest.raises(Conflict, match="has the name 'ann'"):
        make(database, "Ann")


def test_of_many_at_once_one_gets_the_name(database: Database) -> None:
    def attempt(_: int) -> bool:
        try:
            make(database, "ann")
        except Conflict:
            return False
        return True

    make(database, "first")  # the stream has begun
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1


def test_the_log_tells_who_and_never_what(database: Database) -> None:
    ident, text = make(database, tenant="acme")
    database.write_now(lambda c: access.revoke(c, "acme", NOW, ident, by="eve", reason="lost"))
    told = database.read_now(lambda c: events.read(c, "acme", Stream.SYSTEM, STREAM))
    assert [(one.kind, one.actor, one.payload["token"]) for one in told] == [
        (EventKind.TOKEN_CREATED, "root", ident), (EventKind.TOKEN_REVOKED, "eve", ident),
    ]  # fmt: skip
    assert told[0].payload["role"] == "approver"
    assert told[0].payload["tenant"] == "acme"
    assert text not in json.dumps([one.model_dump(mode="json") for one in told])
    rows = database.read_now(lambda c: [tuple(row) for row in c.execute(sa.text("select * from quell_tokens"))])
    assert text.rpartition("_")[2] not in str(rows)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"lasts_s": 0.0}, "a token ends"),
        ({"lasts_s": LONGEST_S + 1}, "a token ends"),
        ({"name": "quell"}, "somebody else"),
        ({"role": Role.ADMIN, "tenant": "acme"}, "whole installation"),
        ({"proxy": True}, "speak for others"),
    ],
)
def test_what_cannot_be_is_said(database: Database, more: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make(database, **more)  # type: ignore[arg-type]
    assert database.read_now(tokens.every) == []


def test_nobody_makes_none(database: Database) -> None:
    with pytest.raises(InvalidInput, match="who you are"):
        database.write_now(lambda c: access.create(c, "acme", NOW, name="ann", role=Role.VIEWER, by=" "))
    with pytest.raises(InvalidInput, match="who you are"):
        database.write_now(lambda c: access.revoke(c, "acme", NOW, LOCAL, by=""))


def test_a_stranger_is_not_found_and_the_nearest_named(database: Database) -> None:
    make(database, "andrea")
    with pytest.raises(NotFound, match="did you mean 'andrea'"):
        database.write_now(lambda c: access.revoke(c, "acme", NOW, "andrae", by="root"))


def test_when_it_was_used_is_known_to_the_minute(database: Database) -> None:
    ident, text = make(database)

    def stale(now: int) -> bool:
        found = database.read_now(lambda c: access.who_holds(c, text, now))
        assert found is not None
        return found[1]

    assert stale(NOW)
    database.write_now(lambda c: tokens.used(c, ident, NOW))
    assert not stale(NOW + 59_000_000)
    assert stale(NOW + 61_000_000)
    database.write_now(lambda c: tokens.used(c, ident, NOW - 1))
    assert not stale(NOW + 59_000_000), "it never goes backwards"


def test_without_a_server(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "q.db"))
    with pytest.raises(NotFound, match="database"), opened(settings):
        pass
    assert list(tmp_path.iterdir()) == []
    with opened(settings, begins=True) as desk:
        made, _ = asyncio.run(desk.create("ann", Role.VIEWER, "root"))
        assert [(one.id, state) for one, state in asyncio.run(desk.every())] == [(made.id, "valid")]
        asyncio.run(desk.revoke("ann", "root"))
        assert [state for _, state in asyncio.run(desk.every())] == ["revoked"]


def test_no_two_secrets_are_alike() -> None:
    made = {secret() for _ in range(1000)}
    assert len(made) == 1000
    assert all(well_formed(f"quell_0a1b2c3d_{one}") for one in made)


@given(st.text())
def test_what_looks_like_a_token_has_its_length(text: str) -> None:
    assert not well_formed(text) or len(text) == 58

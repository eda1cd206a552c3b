"""Calendars, from a file and over HTTP: who is named by what covers the moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.schedules import ical
from quell.ports import Connection, OnCall
from tests.fakes.serving import Fault, Reply
from tests.fakes.sink import FakeSink
from tests.plugins.schedules.calendars import calendar, event
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
UNTIL = datetime(2026, 11, 3, tzinfo=UTC)
TODAY = ("DTSTART:20261102T000000Z", "DTEND:20261103T000000Z")
ANNA = OnCall("Anna", (), UNTIL)
PATH = "/ical/private-0123456789/basic.ics"


@pytest.fixture
def site() -> Iterator[FakeSink]:
    with FakeSink() as site:
        site.reply = Reply.text("no such calendar", 404)
        site.reply_on("GET", PATH, Reply.text(calendar(event("Anna", *TODAY))))
        yield site


async def ask(*connections: Connection, **params: Any) -> tuple[OnCall, ...]:
    async with probe_over(*connections) as probe:
        return await ical.on_call(ical.Params(**params), probe, NOON)


async def read(folder: Path, *events: str, **params: Any) -> tuple[OnCall, ...]:
    file = folder / "rota.ics"
    file.write_text(calendar(*events), encoding="utf-8")
    return await ask(file=str(file), **params)


# Who is named.


async def test_whoever_covers_the_moment_with_the_end_of_the_shift(tmp_path: Path) -> None:
    later = event("Ben", "DTSTART:20261103T000000Z", "DTEND:20261104T000000Z")
    assert await read(tmp_path, event("Anna", *TODAY), later) == (ANNA,)


async def test_nobody_is_an_answer(tmp_path: Path) -> None:
    assert await read(tmp_path) == ()


async def test_somebody_in_two_events_is_there_once_until_the_later_end(tmp_path: Path) -> None:
    longer = event("Anna", TODAY[0], "DTEND:20261105T000000Z", uid="longer")
    assert await read(tmp_path, longer, event("Anna", *TODAY)) == (
        OnCall("Anna", (), datetime(2026, 11, 5, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("title", "words", "names"),
    [
        ("On call: Anna", {"prefix": "On call: "}, ["Anna"]),
        ("On Call - Anna - Shop", {"prefix": "On Call -", "suffix": "- Shop"}, ["Anna"]),
        ("Company outing", {"prefix": "On call:"}, []),
        ("On call:", {"prefix": "On call:"}, []),
        ("On call", {"prefix": "On call", "suffix": "call"}, []),
        ("", {}, []),
        ("  Anna\\, B.  ", {}, ["Anna, B."]),
    ],
)
async def test_the_title_names_somebody(tmp_path: Path, title: str, words: dict[str, str], names: list[str]) -> None:
    assert [one.name for one in await read(tmp_path, event(title, *TODAY), **words)] == names


async def test_those_who_are_invited_and_come(tmp_path: Path) -> None:
    people = (
        "ATTENDEE;CN=Anna Meier;PARTSTAT=ACCEPTED:mailto:anna@example.org",
        "ATTENDEE:MAILTO:ben@example.org",
        "ATTENDEE;CN=Declined;PARTSTAT=DECLINED:mailto:no@example.org",
        "ATTENDEE;CN=Sent another;PARTSTAT=DELEGATED:mailto:no@example.org",
        "ATTENDEE;CN=For information;ROLE=NON-PARTICIPANT:mailto:no@example.org",
        "ATTENDEE;CN=War Room;CUTYPE=ROOM:mailto:room@example.org",
        "ATTENDEE;CN=Pager 2:urn:uuid:0",
    )
    assert await read(tmp_path, event("On call", *TODAY, *people), person="attendee") == (
        OnCall("Anna Meier", ("anna@example.org",), UNTIL),
        OnCall("ben@example.org", (), UNTIL),
        OnCall("Pager 2", (), UNTIL),
    )


async def test_two_people_of_one_name_are_two(tmp_path: Path) -> None:
    people = [f"ATTENDEE;CN=Anna:mailto:{host}" for host in ("a@x.org", "a@y.org")]
    found = await read(tmp_path, event("On call", *TODAY, *people), person="attendee")
    assert [one.also for one in found] == [("a@x.org",), ("a@y.org",)]


async def test_the_zone_of_whole_days_may_be_said(tmp_path: Path) -> None:
    day = event("Anna", "DTSTART;VALUE=DATE:20261102")
    (found,) = await read(tmp_path, day, timezone="Europe/Zurich")
    assert found.until == datetime(2026, 11, 2, 23, tzinfo=UTC)


# Files.


async def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"calendar .*/gone.ics: there is no such file") as told:
        await ask(file=str(tmp_path / "gone.ics"))
    assert told.value.error_class == "missing"


async def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(Permanent, match="it is no file"):
            await ask(file=str(path))


@pytest.mark.parametrize(
    ("content", "says", "error_class"),
    [
        (b"x" * (ical.MOST_BYTES + 1), "longer than 4 MiB", "too_large"),
        (calendar(event("Anna")).encode("utf-16"), "no text in UTF-8", "invalid"),
        (b"<html>Sign in</html>", "cannot be read as iCalendar", "invalid"),
        (b"", "no iCalendar", "invalid"),
        (calendar(event("Anna", *TODAY)).encode()[:-20], "iCalendar", "invalid"),
        (calendar(event("Anna", "DTSTART:yesterday")).encode(), "event 'anna': DTSTART cannot be read", "invalid"),
    ],
)
async def test_what_is_no_calendar_is_told(tmp_path: Path, content: bytes, says: str, error_class: str) -> None:
    (tmp_path / "rota.ics").write_bytes(content)
    with pytest.raises(Permanent, match=says) as told:
        await ask(file=str(tmp_path / "rota.ics"))
    assert told.value.error_class == error_class


async def test_a_calendar_of_any_editor(tmp_path: Path) -> None:
    text = calendar(event("Änna", *TODAY)).replace("\r\n", "\n")
    (tmp_path / "rota.ics").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [one.name for one in await ask(file=str(tmp_path / "rota.ics"))] == ["Änna"]


async def test_a_calendar_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "rota.ics").write_text(calendar(event("Anna", *TODAY)))
    async with probe_over(timeout_s=-1.0) as probe:
        with pytest.raises(Transient, match="too much in it") as told:
            await ical.on_call(ical.Params(file=str(tmp_path / "rota.ics")), probe, NOON)
    assert told.value.error_class == "timeout"


# Addresses.


async def test_an_address_and_a_reference_to_one(site: FakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await ask(url=f"{site.url}{PATH}") == (ANNA,)
    monkeypatch.setenv("ROTA", f"{site.url}{PATH}")
    assert await ask(url="env:ROTA") == (ANNA,)


async def test_a_connection_brings_its_login(site: FakeSink) -> None:
    there = Connection("rota", "ical", f"{site.url}{PATH}", "quell", "secret", {"X-Team": "sre"})
    assert await ask(there, connection="rota") == (ANNA,)
    there = Connection("rota", "ical", f"{site.url}{PATH}", password="secret")
    assert await ask(there, connection="rota") == (ANNA,)
    first, second = site.requests
    assert (first.headers["authorization"], first.headers["x-team"]) == ("Basic cXVlbGw6c2VjcmV0", "sre")
    assert second.headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("fault", "error", "error_class", "retry_after"),
    [
        (Fault.refuse(401), Permanent, "denied", None),
        (Fault.refuse(404), Permanent, "missing", None),
        (Fault.refuse(302), Permanent, "missing", None),
        (Fault.refuse(418), Permanent, "failed", None),
        (Fault.refuse(429, retry_after=60), Transient, "exhausted", 60.0),
        (Fault.refuse(503), Transient, "busy", None),
        (Fault.cut(midway=True), Transient, "unreachable", None),
        (Fault.malformed(b"x" * (ical.MOST_BYTES + 1)), Permanent, "too_large", None),
        (Fault.malformed(b"BEGIN:VCALENDAR"), Permanent, "invalid", None),
    ],
)
async def test_why_there_is_no_calendar(
    site: FakeSink, fault: Fault, error: type[Exception], error_class: str, retry_after: float | None
) -> None:
    site.inject(fault)
    with pytest.raises(error) as told:
        await ask(url=f"{site.url}{PATH}")
    assert getattr(told.value, "error_class", "") == error_class
    assert getattr(told.value, "retry_after", None) == retry_after
    assert str(told.value).startswith("calendar at 127.0.0.1: ")
    assert "private" not in str(told.value)


async def test_a_secret_address_that_a_calendar_repeats_is_hidden(site: FakeSink) -> None:
    broken = event("Anna", "DTSTART:never", uid="private-0123456789")
    site.reply_on("GET", PATH, Reply.text(calendar(broken)))
    with pytest.raises(Permanent, match="event '•••': DTSTART cannot be read"):
        await ask(url=f"{site.url}{PATH}")


async def test_a_connection_without_an_address_is_refused() -> None:
    with pytest.raises(Permanent, match="connection 'rota': it is no address"):
        await ask(Connection("rota", "ical"), connection="rota")


async def test_a_reference_to_something_else_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTA", "hunter2")
    with pytest.raises(Permanent, match="url: it is no address") as told:
        await ask(url="env:ROTA")
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "place", "says"),
    [
        ({}, "file", "say one of file, url and connection"),
        ({"file": "a.ics", "url": "https://a.example/b"}, "url", "say one of file, url and connection"),
        ({"file": "a.ics", "connection": "c"}, "connection", "say one of file, url and connection"),
        ({"url": "ftp://a.example/b"}, "url", "no address that begins with"),
        ({"url": "rota.ics"}, "url", "no address that begins with"),
        ({"url": "webcal://a.example/b"}, "url", "write https:// for webcal://"),
        ({"file": "a.ics", "timezone": "CEST"}, "timezone", "is not a time zone"),
        ({"file": "a.ics", "person": "organizer"}, "person", "'summary' or 'attendee'"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(given: dict[str, Any], place: str, says: str) -> None:
    with pytest.raises(ValidationError) as told:
        ical.Params(**given)
    (error,) = told.value.errors()
    assert (error.get("ctx") or {}).get("place", error["loc"]) == (place,)
    assert says in error["msg"]

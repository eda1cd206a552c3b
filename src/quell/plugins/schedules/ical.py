"""Whoever the events of a calendar name: an iCalendar file, or an address that gives one.

```yaml
schedules:
  payments: {type: ical, url: env:PAYMENTS_ROTA, prefix: 'On call: '}
  shop: {type: ical, file: rota/shop.ics, person: attendee, timezone: Europe/Zurich}
---
connections: {rota: {type: ical, url: 'https://calendar.example.org/ops.ics', username: quell, password: env:ROTA}}
schedules:
  ops: {type: ical, connection: rota}
```

Every event that covers the moment is a shift: single, repeated (RRULE, RDATE, EXDATE), moved (RECURRENCE-ID) or of
whole days. A cancelled one, and one that names nobody, is none. The calendar is read anew each time. Times in a zone
follow the clock on the wall there; what names no zone is in ``timezone``. An event that cannot be understood makes the
whole calendar an error, since nobody could tell who is meant. Never does: write to a calendar, show its address (it may
be secret), take half of a calendar that is too long for the whole.
"""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import httpx
from pydantic import Field, field_validator, model_validator

from quell import addresses
from quell.errors import Permanent, Transient
from quell.plugins.schedules._ask import Asker
from quell.ports import Connects, OnCall, Probe, at_fault
from quell.ports import Params as PortParams
from quell.zones import zone

CONNECTIONS = ("ical",)
PATHS = ("file",)
MOST_BYTES = 4 * 2**20
_NOBODY = frozenset({"ROOM", "RESOURCE"})
_ABSENT = frozenset({"DECLINED", "DELEGATED"})
_LIKE_A_SECRET = 8
"""Shorter parts of an address are words of every day, and hide nothing."""


class Params(PortParams):
    """One of ``file``, ``url`` and ``connection``."""

    file: str | None = Field(default=None, min_length=1)
    """An iCalendar file; a relative path is relative to ``quell.yaml``."""
    url: str | None = Field(default=None, min_length=1)
    """An address (https or http) that gives one, or a reference to it (``env:NAME``, ``file:PATH``): whoever
    knows the private address of a calendar can read it."""
    connection: Annotated[str | None, Connects(CONNECTIONS, default=False)] = None
    """The connection with the address, where a login or a header is needed."""
    person: Literal["summary", "attendee"] = "summary"
    """What names the person: the title of the event (SUMMARY), or everybody who is invited and has not declined
    (ATTENDEE), by name and e-mail address."""
    prefix: str = ""
    """What stands before the name in the title; an event without it is no shift."""
    suffix: str = ""
    """What stands behind the name in the title; an event without it is no shift."""
    timezone: str | None = None
    """The zone of whole days and of times without one, such as ``Europe/Zurich``; by default what the calendar says of
    itself (X-WR-TIMEZONE), else UTC."""

    @field_validator("timezone")
    @classmethod
    def _zoned(cls, name: str | None) -> str | None:
        if name is not None:
            zone(name)
        return name

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None and not _is_reference(url):
            _usable(url)
        return url

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in ("file", "url", "connection") if getattr(self, name) is not None]
        if len(given) != 1:
            raise at_fault((given[1] if given else "file",), "say one of file, url and connection")
        return self


def _is_reference(url: str) -> bool:
    return url.startswith(("env:", "file:"))


def _usable(url: str) -> str:
    """Raises ``ValueError`` without a part of the address."""
    if addresses.flaw(url) or urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("it is no address that begins with https:// or http:// (write https:// for webcal://)")
    return url


async def on_call(params: Params, probe: Probe, at: datetime) -> tuple[OnCall, ...]:
    """Everybody named by an event that covers ``at``. Raises ``Transient`` or ``Permanent``."""
    if params.file is not None:
        name, hidden, body = f"calendar {params.file}", _as_it_is, await _file(params.file)
    else:
        asker, url = _way(params, probe)
        name, hidden, body = asker.name, asker.hidden, await asker.body(url, limit=MOST_BYTES)
    ends = time.monotonic() + probe.timeout_s
    try:
        # In a thread: a long calendar takes a second to read. It ends by itself when nobody waits any more.
        return await asyncio.to_thread(_found, body, at, params, lambda: time.monotonic() > ends)
    except ValueError as error:
        raise Permanent(f"{name}: {hidden(str(error))}", "invalid") from None
    except TimeoutError:
        raise Transient(f"{name}: too much in it to be counted in time", "timeout") from None


def _as_it_is(text: str) -> str:
    return text


def _way(params: Params, probe: Probe) -> tuple[Asker, str]:
    """Who is asked, and the address."""
    there = None if params.connection is None else probe.connection(params.connection, *CONNECTIONS)
    given = there.url if there else str(params.url)
    try:
        url = _usable(probe.secret(given) if not there and _is_reference(given) else given)
    except ValueError as error:
        raise Permanent(f"{f'connection {there.name!r}' if there else 'url'}: {error}", "invalid") from None
    parts = urlsplit(url)
    secrets = [url, *(part for part in (*parts.path.split("/"), parts.query) if len(part) >= _LIKE_A_SECRET)]
    secrets += [part for part in (parts.username, parts.password) if part]
    if there is None:
        return Asker(probe, f"calendar at {parts.hostname}", {}, tuple(secrets)), url
    headers, auth = dict(there.headers), None
    if there.username:
        auth = httpx.BasicAuth(there.username, there.password)
    elif there.password:
        headers["Authorization"] = f"Bearer {there.password}"
    secrets += [there.password, *there.headers.values()]
    return Asker(probe, f"connection {there.name!r}", headers, tuple(secrets), auth), url


async def _file(path: str) -> bytes:
    try:
        return await asyncio.to_thread(_read, Path(path))
    except FileNotFoundError:
        raise Permanent(f"calendar {path}: there is no such file", "missing") from None
    except PermissionError:
        raise Permanent(f"calendar {path}: it may not be read", "denied") from None
    except (OSError, ValueError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or "it cannot be read"
        raise Permanent(f"calendar {path}: {words}", "failed") from None


def _read(path: Path) -> bytes:
    # A pipe would keep its reader waiting for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise Permanent(f"calendar {path}: it is no file", "invalid")
    with path.open("rb") as file:
        body = file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise Permanent(f"calendar {path}: it is longer than {MOST_BYTES // 2**20} MiB", "too_large")
    return body


def _found(body: bytes, at: datetime, params: Params, late: Callable[[], bool]) -> tuple[OnCall, ...]:
    """Raises ``ValueError`` saying what cannot be read, and ``TimeoutError``."""
    from quell.plugins.schedules import _calendar  # what reads calendars takes 2 MB, which most sites need never hold

    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None
    home = zone(params.timezone) if params.timezone is not None else None
    found: dict[tuple[str, tuple[str, ...]], datetime] = {}
    for shift in _calendar.covering(text, at, home, late):
        for who in _people(shift.event, params):
            found[who] = max(shift.ends, found.get(who, shift.ends))
    return tuple(OnCall(name, also, until) for (name, also), until in found.items())


def _people(event: Any, params: Params) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, other names) of everybody that an event names."""
    if params.person == "summary":
        title = " ".join(str(event.get("SUMMARY") or "").split())
        before, behind = params.prefix.strip(), params.suffix.strip()
        if title.startswith(before) and title.endswith(behind) and len(title) >= len(before) + len(behind):
            name = title.removeprefix(before).removesuffix(behind).strip()
            if name:
                yield name, ()
        return
    invited = event.get("ATTENDEE") or []
    for one in invited if isinstance(invited, list) else [invited]:
        said = {key: str(one.params.get(key, "")).strip() for key in ("CN", "CUTYPE", "PARTSTAT", "ROLE")}
        is_there = said["CUTYPE"].upper() not in _NOBODY and said["PARTSTAT"].upper() not in _ABSENT
        if not is_there or said["ROLE"].upper() == "NON-PARTICIPANT":
            continue
        address = str(one).strip()
        address = address[len("mailto:") :] if address.lower().startswith("mailto:") else ""
        if name := said["CN"] or address:
            yield name, (address,) if address and address != name else ()

"""Whoever PagerDuty says is on call in a schedule, now.

```yaml
connections: {pagerduty-rest: {type: pagerduty_api, password: env:PAGERDUTY_API_KEY}}
schedules:
  payments: {type: pagerduty, schedule: PI7DH85}
```

The connection's password is a REST API key (a read-only one will do), not the routing key that pages are sent with; an
access token for scoped OAuth goes into its ``token``. Its ``url`` is only needed for another address than PagerDuty's
own, such as ``https://api.eu.pagerduty.com``. PagerDuty counts as on call whom an escalation policy would reach through
the schedule: a schedule that no policy uses has nobody on call. Never does: page, change anything, show the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BeforeValidator, Field

from quell.errors import Permanent
from quell.plugins.schedules._ask import Asker, text_of
from quell.ports import Connects, OnCall, Probe
from quell.ports import Params as PortParams

CONNECTIONS = ("pagerduty_api",)
API = "https://api.pagerduty.com"
_ACCEPT = "application/vnd.pagerduty+json;version=2"
_PAGE, _MOST_PAGES = 100, 20
_ALWAYS = datetime.max.replace(tzinfo=UTC)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,40}$")]


class Params(PortParams):
    schedule: Annotated[tuple[Id, ...], BeforeValidator(_listed)] = Field(min_length=1, max_length=20)
    """The schedule's id, as in its address (``/schedules/PI7DH85``); of several, all who are on call."""
    connection: Annotated[str | None, Connects(CONNECTIONS)] = None
    """The connection with the API key; by default the only one."""
    url: str = API
    """The address of the REST API."""


async def on_call(params: Params, probe: Probe, at: datetime) -> tuple[OnCall, ...]:
    """Everybody once, by PagerDuty's name, with e-mail address and id. Raises ``Transient`` or ``Permanent``."""
    there = probe.connection(params.connection, *CONNECTIONS)
    asker = Asker.over(probe, "pagerduty", there, "Token token={}", _reason, Accept=_ACCEPT)
    url = (there.url or params.url).rstrip("/")
    entries = await _entries(asker, url, params.schedule, at)
    # An id that does not exist has nobody on call either: the difference is asked for.
    for silent in sorted({*params.schedule} - {_schedule(entry) for entry in entries}):
        await asker.document(f"{url}/schedules/{quote(silent)}")
    found: dict[str, tuple[Mapping[str, Any], datetime]] = {}
    for entry in entries:
        begins, ends = _moment(asker, entry.get("start")), _moment(asker, entry.get("end")) or _ALWAYS
        if (begins is None or begins <= at) and at < ends and _schedule(entry) in params.schedule:
            user = entry.get("user")
            if not isinstance(user, dict) or not text_of(user.get("id")):
                raise _strange(asker, "an on-call entry without a user")
            known = found.get(user["id"])
            found[user["id"]] = (user, max(ends, known[1]) if known else ends)
    return tuple(_person(asker, user, ends) for user, ends in found.values())


def _reason(document: Mapping[str, Any]) -> str:
    error = document.get("error")
    if not isinstance(error, dict):
        return ""
    more = error.get("errors")
    details = [text_of(one) for one in more] if isinstance(more, list) else []
    return " ".join(part for part in (text_of(error.get("message")), *details) if part)


async def _entries(asker: Asker, url: str, schedules: Sequence[str], at: datetime) -> list[Mapping[str, Any]]:
    """Every page of them."""
    query = [
        *(("schedule_ids[]", one) for one in schedules),
        ("since", _written(at)), ("until", _written(at + timedelta(minutes=1))),
        ("include[]", "users"), ("earliest", "true"), ("limit", str(_PAGE)),
    ]  # fmt: skip
    found: list[Mapping[str, Any]] = []
    for page in range(_MOST_PAGES):
        answer = await asker.document(f"{url}/oncalls", [*query, ("offset", str(page * _PAGE))])
        entries = answer.get("oncalls")
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise _strange(asker, "an answer without a list of on-calls")
        found += entries
        if not answer.get("more"):
            return found
    raise Permanent(f"{asker.name}: more than {_MOST_PAGES * _PAGE} on-calls", "too_large")


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(asker: Asker, value: object) -> datetime | None:
    """None for what always was, or has no end."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(text_of(value))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _strange(asker, "a moment that is none")


def _schedule(entry: Mapping[str, Any]) -> str:
    schedule = entry.get("schedule")
    return text_of(schedule.get("id")) if isinstance(schedule, dict) else ""


def _person(asker: Asker, user: Mapping[str, Any], ends: datetime) -> OnCall:
    names = [text_of(user.get(key)) for key in ("name", "summary", "email", "id")]
    known = list(dict.fromkeys(name for name in names if name))
    if len(known) < 2:
        raise _strange(asker, "a user without a name")
    return OnCall(known[0], tuple(known[1:]), None if ends == _ALWAYS else ends)


def _strange(asker: Asker, what: str) -> Permanent:
    return Permanent(f"{asker.name}: it gave {what}", "invalid")

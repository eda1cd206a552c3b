"""The answer to "why?" in blocks, in the order in which things happened, for whoever reads it at 3 AM: what came, what
it was taken for, what was tried, what followed, what the guards said, who was told.

Pure: what ``why`` answers as data in, rows out; a terminal and a page draw the same ones. Never does: judge, fetch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quell.telling.card import clock
from quell.telling.lines import Row, under

_HELD = {True: ("✓", "green"), False: ("✗", "dim")}
_VERDICTS = {
    "allowed": ("✓", "green"), "refused": ("✗", "red"), "asked": ("?", "yellow"), "shadowed": ("·", "cyan"),
}  # fmt: skip
_FOLLOWED = {
    "opened": "It opened an incident", "joined": "It is part of an incident", "reopened": "An incident is open again",
    "resolved": "It has resolved", "acknowledged": "Somebody has seen it", "held": "It is held, nothing follows yet",
    "nothing": "Nothing followed from it", "": "It waits to be looked at",
}  # fmt: skip
_ABOUT = ("service", "severity")
"""Rules that say what an alert is, rather than what follows from it."""
RULES = "Rules tried"


@dataclass(frozen=True, slots=True)
class Block:
    """One stage. ``incident``: the one that it is about, where somebody wants to go on reading."""

    title: str
    rows: tuple[Row, ...]
    incident: str = ""


def headline(told: Mapping[str, Any]) -> str:
    """What became of an alert, in one sentence."""
    alert, reason = told["alert"], str(told["reason"] or "")
    said = _FOLLOWED.get("held" if alert.get("held") else told["outcome"], told["outcome"])
    return f"{said}: {reason}" if reason else said


def alert_blocks(told: Mapping[str, Any], now: datetime) -> list[Block]:
    """``told``: as ``Why.as_json``."""
    tried = [one for one in told["tried"] if one["rule"] not in _ABOUT]
    incident = told["incident"]
    blocks = [
        Block("Received", tuple(_received(told, now))),
        Block("What it is", tuple(_what(told))),
        Block(RULES, tuple(_rule(one) for one in tried)),
        Block("What followed", tuple(_followed(told, now))),
        Block("Incident", tuple(_incident(incident)) if incident else (), incident["id"] if incident else ""),
        Block("Guards", tuple(_guards(told["guard"]))),
        Block("Told", tuple(_told(told["told"]))),
        Block("Each time that it came", tuple(_history(told["history"]))),
    ]
    return [one for one in blocks if one.rows]


def incident_blocks(told: Mapping[str, Any]) -> list[Block]:
    """``told``: as ``WhyIncident.as_json``."""
    incident = told["incident"]
    what = (
        _fact("service", incident["service"] or "none is known", told["service_why"]),
        _fact("severity", incident["severity"], ""),
        _fact("runbook", told["runbook"] or "none", told["runbook_why"]),
        *((_fact("turn", "it waits", incident["queued"]),) if incident.get("queued") else ()),
    )
    more = (Row(f"and {told['more']} more", style="dim"),) if told["more"] else ()
    blocks = [
        Block("What it is", what),
        Block("Its alerts", (*map(_part, told["alerts"]), *more)),
        Block("Guards", tuple(_guards(told["guard"]))),
        Block("Told", tuple(_told(told["told"]))),
    ]
    return [one for one in blocks if one.rows]


def incident_headline(told: Mapping[str, Any]) -> str:
    incident = told["incident"]
    said = f"{incident['status'].replace('_', ' ').capitalize()}: {incident['title']}"
    return f"{said}: {incident['reason']}" if incident["reason"] else said


def _received(told: Mapping[str, Any], now: datetime) -> Iterable[Row]:
    alert = told["alert"]
    if alert.get("last_at"):
        times = f", {alert['count']} times since {_time(alert['first_at'])}" if alert.get("count", 1) > 1 else ""
        yield Row(f"{_time(alert['last_at'])}, {_ago(alert['last_at'], now)}{times}", "when")
    yield Row(alert["source"], "from")
    yield Row(told["signature"] or "how its sender was known is not recorded", "sender")
    if alert.get("starts_at"):
        yield Row(f"it says that it began {_time(alert['starts_at'])}", "began")


def _what(told: Mapping[str, Any]) -> Iterable[Row]:
    alert, why = told["alert"], {one["rule"]: one["why"] for one in told["tried"]}
    yield _fact("name", alert["name"], str((alert.get("annotations") or {}).get("summary") or ""))
    yield _fact("service", alert.get("service") or "none is known", why.get("service", ""))
    yield _fact("severity", alert.get("severity") or "none", why.get("severity", ""))
    labels = ", ".join(f"{name}={value}" for name, value in sorted((alert.get("labels") or {}).items()))
    for label, text in (("labels", labels), ("dedup key", told["dedup_key"]), ("group key", told["group_key"])):
        if text:
            yield Row(text, label)


def _rule(tried: Mapping[str, Any]) -> Row:
    mark, style = _HELD[tried["held"]]
    return Row(tried["why"], tried["rule"], mark, style)


def _followed(told: Mapping[str, Any], now: datetime) -> Iterable[Row]:
    alert, history = told["alert"], told["history"]
    then = str(history[-1]["reason"] or "") if history else ""
    said = _FOLLOWED.get(told["outcome"], told["outcome"])
    yield Row(f"{said}: {then}" if then else said, told["outcome"] or "waits")
    if (reason := told["reason"]) and reason != then and told["outcome"]:
        yield Row(reason, "since then")
    if alert.get("held"):
        again = f", looked at again {_when(alert['look_at'], now)}" if alert.get("look_at") else ""
        yield Row(f"{alert['held']}{again}", "held by", "⏸", "yellow")
    elif alert.get("look_at"):
        yield Row(f"it resolves {_when(alert['look_at'], now)} unless it is said again", "ends")
    yield Row(told["runbook"] or "none", "runbook")
    if not told["incident"]:
        yield Row("it is in no incident", "incident")


def _incident(incident: Mapping[str, Any]) -> Iterable[Row]:
    facts = [incident["title"], incident["severity"], incident["service"] or "no service"]
    yield Row(" · ".join(facts), incident["id"])
    yield _fact("status", incident["status"].replace("_", " "), incident["reason"])
    yield Row(f"{incident['alerts']} in all, runbook {incident['runbook'] or 'none'}", "alerts")


def _part(alert: Mapping[str, Any]) -> Row:
    fires = alert["status"] == "firing"
    about = ", ".join(str(alert[one]) for one in ("service", "source", "fingerprint") if alert[one])
    below = under([about, f"since then: {alert['since']}" if alert["since"] else ""])
    mark, style = ("●", "red") if fires else ("✓", "green")
    said = alert["why"] or "why is not recorded any more"
    return Row(said, alert["name"] or alert["id"], mark, style, more=below)


def _guards(guard: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
    for one in guard:
        mark, style = _VERDICTS.get(one["verdict"], ("?", "yellow"))
        limits = [f"{name} {one[name]}" for name in ("value", "limit") if one[name] is not None]
        rule = ", ".join([one["rule"], *limits]) if one["rule"] else ""
        said = [str(one["call"] or one["action"] or ""), str(one["reason"] or ""), rule]
        yield Row(": ".join(part for part in said if part), one["verdict"], mark, style)
    if not guard:
        yield Row("no action has come before them", "none")


def _told(told: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
    for one in told:
        well = one["delivered"]
        said = f"{one['to']}: {'' if well else 'not delivered: '}{one['detail'] or 'delivered'}, {_time(one['at'])}"
        yield Row(said, one["kind"], "✓" if well else "✗", "green" if well else "red")
    if not told:
        yield Row("nobody was told", "none")


def _history(history: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
    if len(history) > 1:
        for one in history:
            of = f" (incident {one['incident']})" if one["incident"] else ""
            yield Row(f"{_time(one['at'])}: {one['reason'] or ''}{of}", one["outcome"])


def _fact(label: str, text: str, why: str) -> Row:
    return Row(f"{text}: {why}" if why and not why.startswith(text) else why or text, label)


def _time(at: str) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M:%S} UTC"


def _ago(at: str, now: datetime) -> str:
    return f"{clock(max(0.0, (now - datetime.fromisoformat(at)).total_seconds()))} ago"


def _when(at: str, now: datetime) -> str:
    rest = (datetime.fromisoformat(at) - now).total_seconds()
    return f"at {_time(at)}" + (f", in {clock(rest)}" if rest > 0 else ", which is now")

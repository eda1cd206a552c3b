"""The approval request as people read it: the call and its targets first, then what changes, why, what it means for
users, whether it worked before, how to take it back, and what silence does.

Pure. Never does: ask, answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from quell.cli.lines import Row
from quell.incident.action import Asks, whose_yes
from quell.runbook.quantities import spoken

_SILENCE = {"page": "then a person is paged", "deny": "then it is denied"}
SHOWN_HASH = 8


def card(request: Mapping[str, Any], findings: Mapping[str, Mapping[str, Any]], now: datetime) -> tuple[Row, ...]:
    """Rows for the payload of ``approval.requested``. ``findings`` tell how old the evidence is."""
    lines = [
        ("targets", ", ".join(request.get("targets") or ())),
        ("changes", change(request)),
        *_clauses(request, findings, now),
        ("users", str(request.get("impact") or "")),
        ("before this", str(request.get("history") or "")),
        ("risk", str(request.get("risk") or "")),
        ("undo", request.get("undo") or ("" if request.get("asks") == Asks.STEP else "cannot be undone by itself")),
        ("asks", _who(request)),
        ("time", time_left(request, now)),
        ("id", _id(request)),
    ]
    do = [Row(str(request["instructions"]), "do", style="bold")] if request.get("instructions") else []
    return (*do, *(Row(text, label) for label, text in lines if text))


def change(told: Mapping[str, Any]) -> str:
    """``before → after``, as far as the action could say."""
    before, after = str(told.get("before") or ""), str(told.get("after") or "")
    return f"{before} → {after}" if before and after else after or before


def time_left(request: Mapping[str, Any], now: datetime) -> str:
    """``9m58s left, then a person is paged``."""
    silence = _SILENCE.get(str(request.get("on_no_answer")), "")
    if not request.get("expires_at"):
        return silence
    left = max(0.0, (datetime.fromisoformat(str(request["expires_at"])) - now).total_seconds())
    said = f"{clock(left)} left" if left else "expired"
    return f"{said}, {silence}" if silence else said


def clock(total_s: float) -> str:
    """Whole seconds as a person says them, 59.7 s as ``59s``."""
    return spoken(float(int(total_s)))


def _clauses(
    request: Mapping[str, Any], findings: Mapping[str, Mapping[str, Any]], now: datetime
) -> list[tuple[str, str]]:
    """Why it is asked, and each clause that decided, with the age of what it read."""
    clauses = [part for part in str(request.get("why") or "").split("; ") if part]
    return [
        ("because" if not number else "and", part + _age(part, findings, now)) for number, part in enumerate(clauses)
    ]


def _age(clause: str, findings: Mapping[str, Mapping[str, Any]], now: datetime) -> str:
    name = clause.removeprefix("diagnostics.").replace(" ", ".").split(".")[0].lstrip("!(")
    finding = findings.get(name)
    seen = (finding or {}).get("observed_at") or (finding or {}).get("looked_at")
    if not seen or "→" not in clause:
        return ""
    age = max(0.0, (now - datetime.fromisoformat(str(seen))).total_seconds())
    return f", seen {clock(age)} ago" if age >= 1 else ", seen just now"


def _who(request: Mapping[str, Any]) -> str:
    people = int(request.get("people") or 1)
    who = str(request.get("from") or "")
    who = f"{people} people of {who}" if people > 1 else who
    return f"{who}; only {only}" if (only := whose_yes(request)) else who


def _id(request: Mapping[str, Any]) -> str:
    digest = str(request.get("hash") or "")[:SHOWN_HASH]
    return f"{request['approval']}, of exactly this action: {digest}" if digest else str(request["approval"])

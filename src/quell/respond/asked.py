"""An approval request as a message carries it: all that a person needs to answer, bounded, from what was recorded.

Pure. Never does: send, ask, look anything up. What was hidden when it was recorded stays hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from quell.incident.action import Asks, whose_yes
from quell.ports import Asked
from quell.runbook.quantities import spoken

CALL_CHARS, TEXT_CHARS, LINE_CHARS = 2500, 1000, 400
MOST_LINES = 15

_SILENCE = {
    Asks.APPROVAL: "nothing runs", Asks.STEP: "it counts as not done", Asks.HAPPENED: "it stays unknown",
    Asks.REVERT: "it stays as it is and is asked again",
}  # fmt: skip
_YES = {Asks.STEP: "it is done: ", Asks.HAPPENED: "it happened: ", Asks.REVERT: "take it back: "}
_NO = {Asks.STEP: "it cannot be done: ", Asks.HAPPENED: "it did not: ", Asks.REVERT: "keep it for good: "}
_UNDO = {Asks.APPROVAL: "cannot be undone", Asks.HAPPENED: "cannot be undone"}


def asked_of(request: Mapping[str, Any], requested_at: datetime, page: str) -> Asked:
    """From the payload of ``approval.requested``; ``page``: the incident's address, empty when nobody knows it."""
    asks = Asks(request.get("asks", Asks.APPROVAL))
    return Asked(
        approval=request["approval"], asks=asks.value, hash=str(request.get("hash") or ""),
        call=_cut(str(request["call"]), CALL_CHARS), targets=_some(request.get("targets") or ()),
        before=_text(request, "before"), after=_text(request, "after"),
        clauses=_some(part for part in str(request.get("why") or "").split("; ") if part),
        impact=_text(request, "impact"), history=_text(request, "history"),
        undo=_text(request, "undo") or _UNDO.get(asks, ""), risk=str(request.get("risk") or ""),
        instructions=_text(request, "instructions"), people=int(request.get("people") or 1),
        whom=str(request.get("from") or ""), only=_cut(whose_yes(request), TEXT_CHARS),
        expires_at=str(request.get("expires_at") or ""),
        silence=_silence(request, asks, requested_at), answer=tuple(_answers(request, asks, page)),
    )  # fmt: skip


def _silence(request: Mapping[str, Any], asks: Asks, requested_at: datetime) -> str:
    """A message stays where it is, so it names the moment and not what is left."""
    paged = asks is not Asks.REVERT and (asks is Asks.HAPPENED or request.get("on_no_answer") == "page")
    then = f"then {_SILENCE[asks]}" + (" and a person is paged" if paged else "")
    if not request.get("expires_at"):
        return then
    expires = datetime.fromisoformat(str(request["expires_at"]))
    after = spoken(float(round((expires - requested_at) / timedelta(seconds=1))))
    return f"expires {expires:%Y-%m-%d %H:%M:%S} UTC, {after} after it was asked; {then}"


def _answers(request: Mapping[str, Any], asks: Asks, page: str) -> Iterator[str]:
    if (people := int(request.get("people") or 1)) > 1:
        yield f"{people} people must agree"
    yield f"{_YES.get(asks, '')}quell approve {request['approval']}"
    yield f"{_NO.get(asks, '')}quell deny {request['approval']} --reason '…'"
    if page:
        yield page


def _text(request: Mapping[str, Any], name: str) -> str:
    return _cut(str(request.get(name) or ""), TEXT_CHARS)


def _some(lines: Iterable[Any]) -> tuple[str, ...]:
    every = [_cut(str(line), LINE_CHARS) for line in lines]
    left = len(every) - MOST_LINES
    return (*every[:MOST_LINES], f"… and {left} more") if left > 0 else tuple(every)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

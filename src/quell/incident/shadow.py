"""What shadow mode tells: of one run whether people did the same, of a runbook how often they did.

Pure. Never does: find out what people did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

VERDICTS = ("same", "other", "cannot_tell")


def judged(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(verdict, reason): ``same`` only when all that would have been done is known to have been.

    A row has ``call``, ``found`` (done, not_done, cannot_tell; refused: the guardrails would have said no) and ``why``.
    """
    found = [row for row in rows if row["found"] != "refused"]
    words = "; ".join(f"{row['call']}: {row['found'].replace('_', ' ')} ({row['why']})" for row in rows)
    if not found:
        return "cannot_tell", f"nothing would have been done: {words}" if words else "nothing would have been done"
    if any(row["found"] == "not_done" for row in found):
        return "other", words
    if any(row["found"] == "cannot_tell" for row in found):
        return "cannot_tell", words
    return "same", words


class Record(BaseModel):
    """How a runbook did in shadow mode. ``pending``: not over yet. ``median_s``: from when it would have acted until
    people had it over."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runbook: str
    runs: int
    same: int = 0
    other: int = 0
    cannot_tell: int = 0
    pending: int = 0
    median_s: float | None = None


def records(runs: Sequence[tuple[str, Mapping[str, Any] | None]]) -> Iterator[Record]:
    """By runbook, from (runbook, payload of ``shadow.compared``); None: not compared yet."""
    for runbook in sorted({name for name, _ in runs}):
        compared = [payload for name, payload in runs if name == runbook]
        told = [one for one in compared if one is not None]
        counts = {verdict: sum(one["verdict"] == verdict for one in told) for verdict in VERDICTS}
        spans = sorted(one["after_s"] for one in told if "after_s" in one)
        median = spans[len(spans) // 2] if spans else None
        yield Record(
            runbook=runbook, runs=len(compared), pending=len(compared) - len(told), median_s=median, **counts
        )  # fmt: skip

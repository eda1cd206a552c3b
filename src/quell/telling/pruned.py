"""What was pruned, or would be, in a sentence. Pure. Never does: decide what may go, print."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

WORDS = {
    "incidents": "incident", "payloads": "payload of an event", "alerts": "alert", "quarantined": "quarantined alert",
    "pauses": "pause", "silences": "silence", "resets": "reset", "leases": "lease", "intents": "intent",
    "permits": "permit", "plans": "plan", "workflows": "workflow",
}  # fmt: skip
"""Each kind of what goes, by the name that it has in an answer."""
_MANY = {"payloads": "payloads of events"}


def sentence(erased: Mapping[str, int], before: datetime, *, dry_run: bool) -> str:
    """``Would erase from before 2026-08-01 12:00 UTC: 3 incidents, 41 payloads of events.``"""
    said = f"{before:%Y-%m-%d %H:%M} UTC"
    if not erased:
        return f"Nothing is left to erase from before {said}."
    return f"{'Would erase' if dry_run else 'Erased'} from before {said}: {listed(erased)}."


def kept(counts: Mapping[str, int]) -> list[str]:
    """Each reason for which old incidents stay, with how many."""
    return [f"{_counted(count, 'old incident')}, since {why}" for why, count in sorted(counts.items())]


def listed(erased: Mapping[str, int]) -> str:
    """``3 incidents, 41 payloads of events``."""
    return ", ".join(_counted(count, WORDS.get(what, what), _MANY.get(what)) for what, count in erased.items() if count)


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"

"""The words of an action: what it would do, what it did, how the world answered.

Never does: act. The frame acts, the ledger remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Risk(StrEnum):
    """What can go wrong when an action is right about its target."""

    NONE = "none"  # tells somebody something
    LOW = "low"  # undone by itself or by the next reconcile
    MEDIUM = "medium"  # users may notice while it runs
    HIGH = "high"  # data or capacity at stake; a wrong one is an incident of its own
    IRREVERSIBLE = "irreversible"  # a point of no return


class Verdict(StrEnum):
    """What verification says about a remediation."""

    RECOVERED = "recovered"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    WORSE = "worse"
    CANNOT_TELL = "cannot_tell"


class Result(StrEnum):
    """How an action ended. ``unknown``: it may or may not have happened, and nothing could tell."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    SKIPPED = "skipped"
    DRY_RUN = "dry_run"


class Asks(StrEnum):
    """What is asked of a person."""

    APPROVAL = "approval"  # may this be done?
    STEP = "step"  # do this by hand
    HAPPENED = "happened"  # was this done?
    REVERT = "revert"  # it was kept for now: is it taken back?


class _Word(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def whose_yes(request: Mapping[str, Any]) -> str:
    """Whose yes to ``approval.requested`` counts, in words; empty where it is everybody's."""
    said = ", and ".join(" or ".join(names) for names in request.get("approvers") or ())
    if request.get("not_requester"):
        said += (", " if said else "") + "not whoever asked for it"
    return said


class Radius(_Word):
    """What of a service's replicas an action takes away.

    ``at_once``: how many at the same time; ``of``: how many there should be; ``healthy``: how many are so now;
    ``healthy_left``: how many of those are left at the worst moment.
    """

    at_once: int
    of: int
    healthy: int
    healthy_left: int


class Preview(_Word):
    """What an action would do, found out without doing it.

    ``call``: the exact call, as a person would type or read it. ``targets``: what it touches, by name; they are
    leased while acting. ``magnitude``: how much of it (instances added, sessions ended, replicas restarted).
    ``radius``: of an action that takes replicas away; None also where their own system paces that.
    ``facts`` are the action's own, for conditions. ``undo_needs``: what its undo would need of how things are now; it
    stands in for what a crash took when an action that may be repeated is, and finds its own work done.
    """

    call: str
    targets: tuple[str, ...]
    before: str = ""
    after: str = ""
    magnitude: float | None = None
    radius: Radius | None = None
    undo: str | None = None
    undo_needs: dict[str, Any] | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


class Effect(_Word):
    """What an action did. ``undo`` is whatever its own undo needs; ``output`` is for people, bounded."""

    summary: str
    output: dict[str, Any] = Field(default_factory=dict)
    undo: dict[str, Any] | None = None
    changed: bool = True


class ActionOutcome(_Word):
    """How one act frame ended, for the interpreter and the log."""

    node: str
    target: str = ""
    action: str = ""
    result: Result
    summary: str = ""
    rule: str | None = None
    error_class: str | None = None
    key: str = ""
    output: dict[str, Any] = Field(default_factory=dict)
    undo: dict[str, Any] | None = None
    captured: dict[str, Any] = Field(default_factory=dict)
    duration_ms: float = 0.0

"""What a run knows so far: findings, outcomes, what was tried. Plain data, rebuilt by replay, never stored itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quell.incident.action import ActionOutcome, Result
from quell.incident.finding import Finding
from quell.respond.means import Context
from quell.respond.prepared import Request
from quell.respond.view import environment
from quell.runbook.plan import Plan

SUPERSEDED = "superseded"
"""The outcome of a run whose incident another one goes on with."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done and what was asked for, as it was known then: taking it back must not read today's findings."""

    request: Request
    outcome: ActionOutcome


@dataclass(slots=True)
class Run:
    """One run while it runs."""

    context: Context
    plan: Plan
    visit: int = 1
    round: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    outcomes: dict[str, ActionOutcome] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    paged: bool = False
    trouble: list[str] = field(default_factory=list)
    """What stood in the way of the decisions tried so far."""
    waited: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    """Steps that were done before their decision waited."""
    would: list[tuple[Request, dict[str, Any]]] = field(default_factory=list)
    """In shadow mode what would have been done, with what its dry run foresaw."""
    calmed: bool = False
    """Whether it was watched while every check was healthy."""

    def key(self, node: str, target: str = "") -> str:
        """``<run>/<node>/<visit>/<target>``: the address of this execution everywhere."""
        return f"{self.context.run_id}/{node}/{self.round or self.visit}/{target}"

    def environment(self, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return environment(
            self.plan, self.findings, alert=self.context.alert, incident=self.context.view, outcomes=self.outcomes,
            variables=self.context.variables, extra=extra,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of carrying out a decision."""

    outcomes: tuple[ActionOutcome, ...] = ()
    paged: bool = False
    stopped: str = ""
    waited: str = ""
    """The decision that waited, and is to be made anew."""

    def any(self, *results: Result) -> ActionOutcome | None:
        return next((outcome for outcome in self.outcomes if outcome.result in results), None)

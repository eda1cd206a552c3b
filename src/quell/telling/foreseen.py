"""What would follow from an alert, for people and programs: the runbook and why it, every other one and why not, and
what the rules would do. Pure, made of the ``Why`` of an alert that nobody sent.

Never does: fetch, print.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from quell.telling.why import Why

_RUNBOOK = "runbook "
_WOULD = {
    "opened": "open an incident", "joined": "join an incident", "reopened": "open an incident again",
    "resolved": "end an incident", "acknowledged": "acknowledge an incident", "held": "be held",
    "nothing": "do nothing",
}  # fmt: skip
_OWN = frozenset({"service", "severity", "runbook", "correlation"})


class Looked(BaseModel):
    """One rule or runbook that was held against the alert. ``why`` names the clause that decided."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    matches: bool
    why: str


class Foreseen(BaseModel):
    """``outcome``: what the alert would do (``opened``, ``joined``, ``held`` …), ``reason``: by which rule; ``runbook``
    None: none is meant, and the incident goes to people. ``against``: what it was held against, a server with all that
    it knows, or the configuration and the runbooks alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    against: Literal["server", "configuration"]
    alert: dict[str, Any]
    outcome: str
    reason: str
    runbook: str | None
    why: str
    service: str
    severity: str
    candidates: tuple[Looked, ...]
    rules: tuple[Looked, ...]
    dedup_key: str
    group_key: str

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What there is to say of it, before what it was held against: names with texts."""
        runbook = f"{self.runbook}: {self.why}" if self.runbook else f"none: {self.why}; people are told"
        return [
            ("runbook", runbook), ("would", f"{_WOULD.get(self.outcome, self.outcome)}: {self.reason}"),
            ("service", self.service), ("severity", self.severity), ("group", self.group_key),
        ]  # fmt: skip


def foreseen(why: Why, against: Literal["server", "configuration"]) -> Foreseen:
    """Those that match go first among the candidates, and the one that is chosen before all."""
    own = {one.rule: one.why for one in why.tried if one.rule in _OWN}
    looked = [Looked(name=one.rule, matches=one.held, why=one.why) for one in why.tried if one.rule not in _OWN]
    books = [
        one.model_copy(update={"name": one.name.removeprefix(_RUNBOOK)})
        for one in looked
        if one.name.startswith(_RUNBOOK)
    ]
    return Foreseen(
        against=against, alert=dict(why.alert), outcome=why.outcome, reason=why.reason, runbook=why.runbook,
        why=own.get("runbook", ""), service=own.get("service", ""), severity=own.get("severity", ""),
        candidates=tuple(sorted(books, key=lambda one: (one.name != why.runbook, not one.matches, one.name))),
        rules=tuple(one for one in looked if not one.name.startswith(_RUNBOOK)),
        dedup_key=why.dedup_key, group_key=why.group_key,
    )  # fmt: skip

"""What an incident consists of beside its alerts: approvals, deeds, steps by hand, as its log tells them.

Never does: change; the fold makes each anew.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from quell.incident.action import Asks


class Approval(BaseModel):
    """An approval as the log tells it. ``answer`` is None while it waits; ``agreed``: who of ``people`` said yes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    approval: str
    node: str
    call: str
    targets: tuple[str, ...] = ()
    action: str = ""
    hash: str = ""
    before: str = ""
    after: str = ""
    why: str = ""
    undo: str | None = None
    expires_at: str | None = None
    on_no_answer: str = "page"
    instructions: str = ""
    risk: str = ""
    asks: Asks = Asks.APPROVAL
    people: int = 1
    agreed: tuple[str, ...] = ()
    answer: str | None = None
    by: str | None = None


class Deed(BaseModel):
    """An action as the log tells it, from intent to outcome."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    action: str
    call: str = ""
    targets: tuple[str, ...] = ()
    node: str = ""
    result: str | None = None
    summary: str = ""
    at: datetime | None = None


class Override(BaseModel):
    """Break-glass: until then no pause, freeze or window of hours holds this incident's actions up."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    by: str
    reason: str
    until: datetime


class Step(BaseModel):
    """What a person did by hand. ``step``: the runbook's own name of it, or what they call it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    step: str
    result: str
    by: str
    name: str = ""
    note: str = ""
    at: datetime | None = None


class Shadowed(BaseModel):
    """What would have been done, had its mode let it. ``rule``: the guard that would have refused it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    node: str
    action: str
    call: str
    targets: tuple[str, ...] = ()
    rule: str | None = None
    ask: bool = False
    at: datetime | None = None

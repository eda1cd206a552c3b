"""The kill switch: while a pause is on, no action that it covers runs. It ends by itself.

Never does: stop looking, paging or telling; only acting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Scope(StrEnum):
    """What is paused. Every scope but ``all`` has a name."""

    ALL = "all"  # whatever this installation would do, for every tenant
    TENANT = "tenant"
    SERVICE = "service"
    RUNBOOK = "runbook"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Reach:
    """What an action belongs to, which is what a pause covers or not. ``service``: the one that it acts on."""

    tenant: str
    service: str | None
    runbook: str
    action: str

    def named(self, scope: Scope) -> str | None:
        names = {
            Scope.TENANT: self.tenant, Scope.SERVICE: self.service, Scope.RUNBOOK: self.runbook,
            Scope.ACTION: self.action,
        }  # fmt: skip
        return names.get(scope)


class Pause(BaseModel):
    """One pull of the switch. ``at`` and ``until`` are UTC; ``tenant``: in whose house it was pulled.

    What it names it stops for every tenant: a service or a runbook is the same whoever's alert it is about.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    tenant: str
    scope: Scope
    name: str = ""
    by: str
    reason: str
    at: datetime
    until: datetime

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.scope is Scope.ALL) == bool(self.name):
            raise ValueError("everything is paused without a name, anything else by its name")
        return self

    def covers(self, reach: Reach) -> bool:
        return self.scope is Scope.ALL or self.name == reach.named(self.scope)

    @property
    def what(self) -> str:
        if self.scope is Scope.ACTION:
            return f"every {self.name}"
        return "every action" if self.scope is Scope.ALL else f"every action of {self.scope.value} {self.name}"

    @property
    def says(self) -> str:
        """For a person."""
        return f"{self.what} is paused until {self.until:%Y-%m-%d %H:%M} UTC by {self.by}: {self.reason}"


def covering(pauses: Iterable[Pause], reach: Reach) -> Pause | None:
    """The one that lasts longest of those that cover it."""
    return max((one for one in pauses if one.covers(reach)), key=lambda one: one.until, default=None)

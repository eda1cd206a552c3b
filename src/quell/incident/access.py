"""The words of who may do what: roles, tokens, and whoever asks.

Pure. Never does: make a secret, keep one, or look at a clock.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_TOKEN_NAME = 60
LOCAL, SHARED = "local", "server"
"""Where sessions come from that no token of ours began: the link of a start, the token of the configuration."""
RESERVED = frozenset({LOCAL, SHARED, "quell", "nobody", "somebody", "api", "web", "demo"})
"""Names that mean somebody else in the log."""


class Role(StrEnum):
    """What somebody may do, each with everything before it."""

    VIEWER = "viewer"  # look
    RESPONDER = "responder"  # trigger, acknowledge, take, give back, resolve
    APPROVER = "approver"  # say yes or no to an action
    ADMIN = "admin"  # pause, resume, reset, reload, tokens

    def covers(self, needed: Role) -> bool:
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = tuple(Role)


class Token(BaseModel):
    """What is known of a token; its text is known to whoever holds it, and to nobody else.

    ``proxy``: it speaks for others, who are named in each request. ``tenant``: what it sees, None for everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str = Field(min_length=1, max_length=MAX_TOKEN_NAME)
    role: Role
    tenant: str | None = None
    proxy: bool = False
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    @field_validator("name")
    @classmethod
    def _a_name(cls, value: str) -> str:
        if not value.isprintable() or value != " ".join(value.split()):
            raise ValueError("a name is one line without a blank at its ends")
        if folded(value) in RESERVED:
            raise ValueError(f"{value!r} means somebody else in the log")
        if len(value) == 8 and set(value) <= set("0123456789abcdef"):
            raise ValueError("it looks like the id of a token")
        return value

    @model_validator(mode="after")
    def _within_its_tenant(self) -> Self:
        if self.tenant is not None and self.role is Role.ADMIN:
            raise ValueError("an admin is of the whole installation: pauses and tokens are not one tenant's")
        if self.proxy and self.role is not Role.ADMIN:
            raise ValueError("only an admin's token may speak for others")
        return self

    def state(self, now: datetime) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if now < self.expires_at else "expired"

    def told(self, state: str) -> dict[str, Any]:
        """As data, with its state."""
        return {**self.model_dump(mode="json"), "state": state}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks. ``name`` is empty when nobody can know it; ``token``: what shows who it is."""

    name: str
    role: Role
    tenant: str | None = None
    proxy: bool = False
    token: str = ""

    def may(self, needed: Role) -> bool:
        return self.role.covers(needed)

    def speaks_as(self, given: str) -> str:
        """In whose name it acts: another's only when it speaks for others, whatever is asked for."""
        return given if self.proxy and given else self.name


ANYBODY = Caller("", Role.ADMIN, proxy=True)
"""Where nobody is asked who they are."""


def caller_of(token: Token) -> Caller:
    return Caller(token.name, token.role, token.tenant, token.proxy, token.id)


def folded(name: str) -> str:
    """Two spellings of one name are one person."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def same_person(one: str, other: str) -> bool:
    return folded(one) == folded(other)

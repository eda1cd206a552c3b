"""A change that is kept for now, as everybody reads it. Never does: make one, end one."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Obligation(BaseModel):
    """``id``: the execution that made the change. ``revert_at``: when ``owner`` is asked to take it back, UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    incident: str
    what: str
    owner: str
    revert_at: datetime

    @property
    def says(self) -> str:
        return f"{self.what}; {self.owner} is asked at {self.revert_at:%Y-%m-%d %H:%M} UTC"

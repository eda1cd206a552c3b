"""What the sections of the native dialect are made of: sections, ids, texts, conditions, spans of time.

Never does: know a section.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from quell.runbook.quantities import seconds

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"

Seconds = Annotated[float, BeforeValidator(seconds)]


def _identifier(value: str) -> str:
    if not re.fullmatch(IDENTIFIER, value):
        raise ValueError("an id is letters, digits, _ and -, at most 64, and begins with a letter or _")
    return value


Id = Annotated[str, AfterValidator(_identifier)]
Text = Annotated[str, Field(max_length=20_000)]


def condition(value: Any) -> Any:
    """``true`` and ``false`` are conditions too."""
    return str(value).lower() if isinstance(value, bool) else value


Condition = Annotated[str, BeforeValidator(condition), Field(max_length=4096)]


def listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class InterpretText(Section):
    healthy: Condition | None = None
    """Tried last; when none holds there is no data."""
    warning: Condition | None = None
    """Tried second."""
    critical: Condition | None = None
    """Tried first."""


class RetryText(Section):
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often in all; a bare number under ``retry`` counts the further ones."""
    backoff: Seconds = 1.0
    """The first pause; each next one is twice as long."""


def retried(value: Any) -> Any:
    return {"attempts": value + 1} if isinstance(value, int) and not isinstance(value, bool) else value


MEANT = {
    "when": "condition", "if": "condition", "else": "otherwise", "default": "otherwise", "do": "then", "steps": "then",
    "in": "after", "approvers": "people", "expires_in": "expires", "query": "config", "params": "config",
    "match": "matchers", "sources": "source", "severities": "severity", "weight": "priority",
    "parameters": "config", "with": "config", "depends_on": "needs", "requires": "needs",
}  # fmt: skip
"""What people write, by the key that they mean."""

"""Which names a condition reads. Never does: complain; what cannot be parsed reads nothing, and lint says so."""

from __future__ import annotations

from quell.runbook.expr import ExprError, compile


def names_of(condition: str | None) -> set[str]:
    """The dotted names a condition reads; none when it cannot be parsed (lint says so)."""
    if condition is None:
        return set()
    try:
        return set(compile(condition).names)
    except ExprError:
        return set()


def root_of(path: str) -> str:
    """The check a path starts with: ``diagnostics.x.status`` and ``x.status`` are both about ``x``."""
    parts = path.replace("[", ".").split(".")
    return parts[1] if parts[0] == "diagnostics" and len(parts) > 1 else parts[0]

"""What the configuration says of sources and guardrails, held against what there is.

Pure. Never does: load a plug-in.
"""

from __future__ import annotations

from collections.abc import Iterable

from quell.doctor.asked import Failure
from quell.doctor.judgement import Judgement, error, ok
from quell.errors import Problem


def judge_source(name: str, kind: str, seen: bool | Failure) -> Judgement:
    """``seen``: whether it asks whoever posts for credentials."""
    looked_at = f"{kind} source {name}"
    if isinstance(seen, Failure):
        return error("source", looked_at, seen.words, "a source that can read alerts", f"correct sources.{name}")
    return ok("source", looked_at, "asks for credentials" if seen else "has no secret: asks for a token of Quell's own")


def judge_guardrails(problems: Iterable[Problem]) -> list[Judgement]:
    """Rules of actions, parameters or services that there are not: the server does not start with one."""
    found = [
        error(
            "guardrails", problem.path or "guardrails", problem.message, "a name that exists",
            f"write {problem.nearest}" if problem.nearest else "correct it, or take it out",
        )
        for problem in problems
    ]  # fmt: skip
    return found or [ok("guardrails", "guardrails", "each names what exists")]

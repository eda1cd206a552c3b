"""What the configuration says of sources, guardrails and the catalogue, held against what there is.

Pure. Never does: load a plug-in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quell.doctor.asked import Failure
from quell.doctor.judgement import Judgement, error, ok, warning
from quell.errors import Problem
from quell.incident.service import Service
from quell.runbook.vocabulary import nearest


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


def judge_needs(services: Mapping[str, Service], connections: Iterable[str]) -> list[Judgement]:
    """What services depend on. A name that is nobody's ties nothing together: of one cause come two incidents."""
    known = {*services, *connections}
    also = {alias: service.name for service in services.values() for alias in service.aliases}
    found = list[Judgement]()
    for service in services.values():
        for need in service.depends_on:
            if need not in known:
                near = also.get(need) or nearest(need, known)
                advice = f"write {near}" if near else "add it to services, or take it out"
                found.append(
                    warning(
                        "catalogue", f"services.{service.name}.depends_on", f"nothing is called {need}",
                        "a service or a connection", advice,
                    )
                )  # fmt: skip
    return found or [ok("catalogue", "services", "each depends on what there is")]

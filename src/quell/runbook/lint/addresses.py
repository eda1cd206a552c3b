"""With a configuration at hand: every address that a runbook names leads to somebody, before the night that needs it.

What is said is what sending would say. A role that only people know (``dba``) may be asked, not paged: the primary is
told for whom it is. Never does: send anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from quell.runbook.lint.remark import Place, Remark
from quell.runbook.plan import Act, Approve, Notify, Origin, Plan
from quell.runbook.template import has_template
from quell.runbook.vocabulary import NotifierWord, Vocabulary, nearest

_LIKE_ONE = re.compile(r"[#@]\S|[A-Za-z][\w.+-]*:(?=\S|$)")


class Fault(NamedTuple):
    """Why nobody can be reached there; ``expected`` and ``near`` as a Problem has them."""

    message: str
    expected: str | None = None
    near: str | None = None


def addresses(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """An address that reaches nobody; without a configuration, only a kind that there is not, as a warning."""
    if not vocabulary.notifier_kinds:
        return  # who reads this knows of no way to tell anybody anything
    severity = "warning" if vocabulary.notifiers is None else "error"
    for origin, place, to, paged in _named(plan):
        if not to or has_template(to) or not (paged or looks_like_one(to, vocabulary)):
            continue
        if fault := fault_of(to, vocabulary):
            yield Remark(origin, place, fault.message, "unknown-address", severity, to, fault.expected, fault.near)


def _named(plan: Plan) -> Iterator[tuple[Origin, Place, str, bool]]:
    """Where an address may stand, and whether somebody must be reached there."""
    yield plan.origin, ("escalation", "primary"), plan.escalation.primary, True
    yield plan.origin, ("escalation", "secondary"), plan.escalation.secondary or "", True
    for further in plan.escalation.further:
        yield plan.origin, ("escalation", "secondary"), further, True
    for node in plan.nodes:
        if isinstance(node, Notify):
            yield node.origin, ("to",), node.to, True
        elif isinstance(node, Act | Approve):
            yield node.origin, ("approval", "from"), node.approval.ask, False
            if isinstance(node, Act) and node.revert is not None:
                yield node.origin, ("revert", "ask"), node.revert.ask, False


def looks_like_one(to: str, vocabulary: Vocabulary) -> bool:
    return _kind_of(to, vocabulary) is not None or _LIKE_ONE.match(to) is not None


def fault_of(to: str, vocabulary: Vocabulary) -> Fault | None:
    """None where somebody is reached, or where that cannot be told without a configuration."""
    found, configured = _kind_of(to, vocabulary), vocabulary.notifiers
    if configured is None:
        unknown = found is None and _LIKE_ONE.match(to) is not None
        return _nowhere(to, vocabulary) if unknown else None
    if to in configured:
        return None
    if found is None:
        return _nowhere(to, vocabulary)
    kind, prefix = found
    name = "" if f"{to}:" == prefix else to.removeprefix(prefix)
    return _unserved(to, name, prefix, kind, vocabulary) if kind.connections else None


def _kind_of(to: str, vocabulary: Vocabulary) -> tuple[NotifierWord, str] | None:
    kinds = vocabulary.notifier_kinds
    # A kind is loaded when it is looked at, and most addresses begin with the name of theirs.
    names = sorted(kinds, key=lambda name: not to.startswith(name))
    return next(
        ((kinds[name], prefix) for name in names for prefix in kinds[name].prefixes if f"{to}:".startswith(prefix)),
        None,
    )


def _nowhere(to: str, vocabulary: Vocabulary) -> Fault:
    prefixes = sorted(prefix for kind in vocabulary.notifier_kinds.values() for prefix in kind.prefixes)
    names = sorted(vocabulary.notifiers or ())
    expected = f"an address that begins with {', '.join(prefixes)}" + (
        f"; or one of {', '.join(names)}" if names else ""
    )
    near = nearest(to, names)
    if near is None and _LIKE_ONE.match(to):
        near = nearest(to, [prefix + to.partition(":")[2] for prefix in prefixes])
    return Fault(f"no notifier is called {to!r}, and it is no address", expected, near)


def _unserved(to: str, name: str, prefix: str, kind: NotifierWord, vocabulary: Vocabulary) -> Fault | None:
    """As sending chooses: what is called like it, else the only notifier or connection of its kind."""
    configured = {own: way.params for own, way in (vocabulary.notifiers or {}).items() if way.type == kind.name}
    fits = sorted(own for own, way in (vocabulary.connections or {}).items() if way.type in kind.connections)
    if name in configured or name in fits:
        return None
    different: list[Mapping[str, object]] = []
    for params in configured.values():
        rest = {key: value for key, value in params.items() if key not in ("target", "channel")}
        different += [rest] if rest not in different else []
    alone = [own for own in fits if own in (*kind.connections, "default")]
    if (len(different) == 1 and different[0]) or (len(different) < 2 and (len(fits) == 1 or len(alone) == 1)):
        return None
    types, names = " or ".join(kind.connections), sorted({*configured, *fits})
    if not names:
        expected = f"connections: {{NAME: {{type: {kind.connections[0]}, ...}}}}"
        return Fault(f"{to!r} needs a connection of type {types}, and none is configured", expected)
    near = nearest(name, names)
    return Fault(
        f"{to!r} may go to any of {len(names)} of type {types}, and none is called {name!r}",
        "one of " + ", ".join(names), prefix + near if near else None,
    )  # fmt: skip

"""The pages of the plug-ins, read from the registry. Never does: name one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from docs.generator.models import fields_table, nested, title
from docs.generator.prose import code, markdown, one_line, page, quoted, table
from quell.ports import ActionType, CheckType, DriverType, NotifierType, Params, ScheduleType, SourceType
from quell.registry import Registry

_SPELLING = (
    "Keys may be written in snake_case or camelCase; an unknown key is an error. Durations are `30s`, `5m`, `1h30m`, "
    "`250ms` or bare seconds; sizes are `64KiB`, `1MB` or bare bytes."
)
_RISKS = "../reference/configuration.md#guardrails"


def checks() -> str:
    """``checks.md``."""
    kinds = sorted(Registry().checks.values(), key=lambda kind: kind.name)
    return page(
        "# Checks",
        "A check asks a system and changes nothing. It publishes *facts*; the runbook's `interpret` says which of them "
        "mean healthy, warning or critical ([conditions](conditions.md)). A fact that is not there makes a condition "
        "unknown, and unknown is never healthy. " + _SPELLING,
        _index(kinds),
        *(part for kind in kinds for part in _check(kind)),
    )


def _check(kind: CheckType) -> Iterable[str]:
    yield f"## {kind.name}"
    yield _aliases(kind.aliases)
    yield markdown(kind.doc)
    yield from _parameters(kind.params)
    yield "### Facts of " + kind.name
    yield _facts(kind.facts({}))
    if not kind.signal:
        yield (
            "It tells what was, not how things are now: [verification](runbook.md#verify) asks it only when it is "
            "named."
        )
    if kind.shell:
        yield f"A shell reads {quoted(kind.shell)} when it is one string; then it may hold no template."


def actions() -> str:
    """``actions.md``."""
    kinds = sorted(Registry().actions.values(), key=lambda kind: kind.name)
    head = ("action", "risk", "safe to repeat", "undo", "what it does")
    rows = [
        (
            f"[{kind.name}](#{kind.name})", kind.risk.value, _yes(kind.idempotent), _yes(kind.undo is not None),
            one_line(kind.doc),
        )
        for kind in kinds
    ]  # fmt: skip
    return page(
        "# Actions",
        "An action changes a system, once, inside the safety rails: a dry run, the guard, approval where it is asked "
        "for, the target's lease, the precondition, then the act and its postcondition. " + _SPELLING,
        "*Risk* is what can go wrong although the target is right; from which risk on somebody must agree is in "
        f"[guardrails]({_RISKS}). *Safe to repeat*: doing it twice is doing it once.",
        table(head, rows),
        *(part for kind in kinds for part in _action(kind)),
    )


def _action(kind: ActionType) -> Iterable[str]:
    yield f"## {kind.name}"
    yield _aliases(kind.aliases)
    yield markdown(kind.doc)
    yield f"Risk: **{kind.risk.value}**. " + (
        "Safe to repeat."
        if kind.idempotent
        else "Not safe to repeat: when its outcome is lost it is `unknown`, and nothing acts twice by itself."
    )
    yield from _parameters(kind.params)
    if kind.facts:
        yield f"### Facts of {kind.name}"
        yield "What its precondition and postcondition may read:"
        yield _facts(kind.facts)
    if kind.precondition:
        yield f"Precondition, unless the runbook says its own: `{kind.precondition}`"
    if kind.postcondition:
        yield (
            f"Postcondition, unless the runbook says its own: `{kind.postcondition}`, within "
            f"{kind.postcondition_within_s:g} s."
        )
    yield (
        f"Undo: {_first_line(kind.undo.__doc__)}"
        if kind.undo
        else "Undo: none; the runbook may name another action as its undo."
    )
    if kind.limits:
        yield f"### Guard keys of {kind.name}"
        yield (
            "Beside any parameter (a list of the values it may have), `rate` (`2/10m`) and `max_magnitude`, a "
            "runbook's `guard` takes:"
        )
        yield table(("key", "meaning"), ((f"`{key}`", code(text)) for key, text in kind.limits.items()))


def drivers() -> str:
    """``drivers.md``."""
    kinds = sorted(Registry().drivers.values(), key=lambda kind: kind.name)
    return page(
        "# Drivers",
        "A driver is how a service of the catalogue is restarted, scaled, rolled back or taken off its users. Runbooks "
        "say `restart_service: payment`; the [catalogue](configuration.md#service) says which drivers move `payment`. "
        "A service may have several: the first that can do a thing does it. Where each region has drivers of its own, "
        "every entry says `region` beside its `type` (for Kubernetes, its own `context`); an action with `region`, or "
        "inside a `for_each` over `region`, then moves just those, and one that names no region is refused.",
        table(
            ("driver", "can", "what it moves"),
            ((f"[{kind.name}](#{kind.name})", quoted(sorted(kind.capabilities)), one_line(kind.doc)) for kind in kinds),
        ),
        *(part for kind in kinds for part in _driver(kind)),
    )


def _driver(kind: DriverType) -> Iterable[str]:
    yield f"## {kind.name}"
    yield markdown(kind.doc)
    yield f"Can: {quoted(sorted(kind.capabilities))}."
    if kind.reconciler:
        yield f"`{kind.reconciler}` reconciles what it moves."
    yield from _parameters(kind.config)


def notifiers() -> str:
    """``notifiers.md``."""
    kinds = sorted(Registry().notifiers.values(), key=lambda kind: kind.name)
    return page(
        "# Notifiers",
        "A notifier tells people: a page, an approval to give, an update. `escalation.primary` and a remediation's "
        "`to` name one by its prefix, or by its name under `notifiers` in [quell.yaml](configuration.md).",
        table(
            ("notifier", "prefixes", "where the message goes"),
            ((f"[{kind.name}](#{kind.name})", quoted(kind.prefixes), one_line(kind.doc)) for kind in kinds),
        ),
        *(part for kind in kinds for part in _notifier(kind)),
    )


def _notifier(kind: NotifierType) -> Iterable[str]:
    yield f"## {kind.name}"
    yield markdown(kind.doc)
    yield from _parameters(kind.params)


def sources() -> str:
    """``sources.md``."""
    kinds = sorted(Registry().sources.values(), key=lambda kind: kind.name)
    return page(
        "# Alert sources",
        "A source turns what a monitoring system posts to `/webhooks/NAME` into alerts. `sources` in "
        "[quell.yaml](configuration.md) configures one by its name; `type` is needed only when the name is another. "
        "How to point each system at Quell: [where alerts come from](../sources.md).",
        *(part for kind in kinds for part in _source(kind)),
    )


def _source(kind: SourceType) -> Iterable[str]:
    yield f"## {kind.name}"
    yield markdown(kind.doc)
    yield from _parameters(kind.params)


def schedules() -> str:
    """``schedules.md``."""
    kinds = sorted(Registry().schedules.values(), key=lambda kind: kind.name)
    return page(
        "# Schedules",
        "A schedule says who is on call at a moment, with every name that the person goes by and the end of the shift. "
        "`schedules` in [quell.yaml](configuration.md) gives each one a name and a `type`; the other keys are its "
        "parameters. That nobody is on call is an answer; a schedule that cannot be asked or understood is an error, "
        "and never nobody. Keys may be written in snake_case or camelCase; an unknown key is an error.",
        table(
            ("type", "asks through", "who is on call"),
            (
                (f"[{kind.name}](#{kind.name})", quoted(kind.connections) or "—", one_line(kind.doc))
                for kind in kinds
            ),
        ),
        *(part for kind in kinds for part in _schedule(kind)),
    )  # fmt: skip


def _schedule(kind: ScheduleType) -> Iterable[str]:
    yield f"## {kind.name}"
    yield markdown(kind.doc)
    yield from _parameters(kind.params)


# What several have.


def _index(kinds: Sequence[Any]) -> str:
    return table(("name", "what it does"), ((f"[{kind.name}](#{kind.name})", one_line(kind.doc)) for kind in kinds))


def _aliases(aliases: Sequence[str]) -> str:
    return f"Also written {quoted(aliases)}." if aliases else ""


def _parameters(params: type[BaseModel]) -> Iterable[str]:
    rows = fields_table(params)
    if not rows:
        return
    yield _model_doc(params)
    yield rows
    for model in nested(params):
        yield f"#### {title(model)}"
        yield _model_doc(model)
        yield fields_table(model)


def _model_doc(model: type[BaseModel]) -> str:
    """The model's own words; those it inherits stand where they belong."""
    own = model.__dict__.get("__doc__")
    inherited = [base for base in model.__mro__[1:] if issubclass(base, Params) and base is not Params]
    return markdown("\n\n".join(doc for doc in (own, *(base.__dict__.get("__doc__") for base in inherited)) if doc))


def _facts(facts: Mapping[str, Any]) -> str:
    return table(("fact", "type"), ((f"`{name}`", _fact_type(spec)) for name, spec in facts.items()))


FACT_WORDS = {
    "number": "number", "string": "text", "bool": "true or false",
    "ratio": "ratio (0-1; compare with `1%` or `0.01`)",
    "percent": "percent (compare with `1%`)", "percent:bare": "percent (`90%` or `90`)",
    "bytes": "size (compare with `1GiB`)",
    "bytes:bare": "size (`1GiB`, or bare bytes)", "time": "moment", "any": "anything",
    "record": "record", "flag": "flag",
    "duration": "duration (compare with `5m`)",
}  # fmt: skip


def _fact_type(spec: Any) -> str:
    if isinstance(spec, Mapping):
        return "record: " + ", ".join(f"`{name}` {_fact_type(inner)}" for name, inner in spec.items())
    if not isinstance(spec, str):
        return f"list of {_fact_type(spec[0])}"
    word = spec.replace(" ", "")
    if word.startswith("list<"):
        return f"list of {_fact_type(word[5:-1])}"
    if word.startswith("duration:"):
        return f"duration (`5m`, or bare {word.removeprefix('duration:')})"
    return FACT_WORDS[word]


def _first_line(doc: str | None) -> str:
    return one_line(doc) or "its own."


def _yes(value: bool) -> str:
    return "yes" if value else "no"

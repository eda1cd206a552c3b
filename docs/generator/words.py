"""The pages of the house's words: configuration, events, the incident's states. Never does: repeat a table by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from pydantic import BaseModel

from docs.generator.models import fields_table, nested, title
from docs.generator.prose import body, markdown, page, quoted, table
from quell.incident.action import Risk
from quell.incident.event import SHAPES, EventKind, NewEvent, Stream
from quell.incident.incident import STAYS, TRANSITIONS, Status
from quell.respond.limits import DEFAULT_ACTIONS
from quell.settings import Settings


def configuration() -> str:
    """``configuration.md``."""
    return page(
        "# Configuration: quell.yaml",
        "One file, YAML or JSON. An unknown key is an error, and all problems are reported at once. Secrets are "
        "references, `env:NAME` or `file:PATH`, never values. Durations are `30s`, `5m`, `1h30m` or bare seconds.",
        fields_table(Settings),
        *(part for model in nested(Settings) for part in _section(model)),
        "## Limits that hold from the start",
        "Unless `guardrails.actions` says otherwise for that action:",
        table(("action", "limits"), ((f"`{name}`", _rules(rule)) for name, rule in DEFAULT_ACTIONS.items())),
        f"Risks, in order: {', '.join(f'`{risk.value}`' for risk in Risk)}. From `guardrails.approval_from_risk` on, "
        "somebody must agree.",
    )


def _section(model: type[BaseModel]) -> Iterable[str]:
    yield f"## {title(model)}"
    yield markdown(model.__dict__.get("__doc__") or "")
    yield fields_table(model)


def _rules(rule: BaseModel) -> str:
    said = rule.model_dump(exclude_defaults=True)
    return ", ".join(
        f"`{name}: {str(value).lower() if isinstance(value, bool) else value}`" for name, value in said.items()
    )


def events() -> str:
    """``events.md``."""
    streams: dict[Stream, list[EventKind]] = defaultdict(list)
    for kind in SHAPES:
        streams[_stream(kind)].append(kind)
    head = ("event", "always has", "may have", "incident becomes")
    return page(
        "# Events",
        "Everything that happens is an event in an append-only log; the incident, its timeline, its page and the "
        "postmortem are read from it. A payload key that is not listed here is refused.",
        body(NewEvent.__doc__),
        "Each event also carries `at` (UTC, microseconds), `actor`, `seq` (from 1 in its stream), `hash` (chained over "
        "the payload's hash) and `schema_version`.",
        *(part for stream in Stream for part in (f"## Stream `{stream.value}`", table(head, _rows(streams[stream])))),
    )


def _rows(kinds: Iterable[EventKind]) -> Iterable[tuple[str, str, str, str]]:
    return ((f"`{kind.value}`", _keys(SHAPES[kind].needs), _keys(SHAPES[kind].may), _to(kind)) for kind in kinds)


def _stream(kind: EventKind) -> Stream:
    """Incident events are those that the incident's table knows; of the rest, the alert's bear its name."""
    known = {one for moves in TRANSITIONS.values() for one in moves} | {
        one for kinds in STAYS.values() for one in kinds
    }
    if kind is EventKind.OPENED or kind in known:
        return Stream.INCIDENT
    return Stream.ALERT if kind.value.startswith("alert.") else Stream.SYSTEM


def _keys(keys: Iterable[str]) -> str:
    return quoted(sorted(keys)) or "—"


def _to(kind: EventKind) -> str:
    if kind is EventKind.OPENED:
        return f"`{Status.OPEN.value}`"
    targets = {moves[kind] for moves in TRANSITIONS.values() if kind in moves}
    return quoted(sorted(status.value for status in targets)) or "—"


def states() -> str:
    """``incident-states.md``."""
    moves: dict[tuple[Status, Status], list[EventKind]] = defaultdict(list)
    for status, table_of in TRANSITIONS.items():
        for kind, to in table_of.items():
            moves[status, to].append(kind)
    return page(
        "# States of an incident",
        "Only an event moves an incident, and only as this table says; an event that is neither here nor merely "
        "recorded in that state is an error.",
        _diagram(moves),
        "## Moves",
        table(
            ("from", *(f"`{kind.value}`" for kind in _movers())),
            (
                (f"`{status.value}`", *(_cell(status, kind) for kind in _movers()))
                for status in Status
            ),
        ),
        "A dot: recorded, and the status stays. Empty: refused.",
        "## Recorded without a move",
        table(
            ("event", *(status.value for status in Status)),
            ((f"`{kind.value}`", *("·" if kind in STAYS[status] else "" for status in Status)) for kind in _recorded()),
        ),
    )  # fmt: skip


def _recorded() -> list[EventKind]:
    movers = _movers()
    return [kind for kind in EventKind if kind not in movers and any(kind in kinds for kinds in STAYS.values())]


def _movers() -> list[EventKind]:
    return [kind for kind in EventKind if any(kind in moves for moves in TRANSITIONS.values())]


def _cell(status: Status, kind: EventKind) -> str:
    if kind in TRANSITIONS[status]:
        return f"`{TRANSITIONS[status][kind].value}`"
    return "·" if kind in STAYS[status] else ""


def _diagram(moves: dict[tuple[Status, Status], list[EventKind]]) -> str:
    """Mermaid. States that an event reaches from every working state are drawn from the group, once."""
    working = [status for status in Status if _is_working(status)]
    common = {to: kinds for to in Status if (kinds := _from_all(working, to))}
    lines = ["stateDiagram-v2", "  [*] --> open: incident.opened", "  state working {"]
    lines += [f"    {status.value}" for status in working]
    lines.append("  }")
    for to, kinds in common.items():
        lines.append(f"  working --> {to.value}: {', '.join(kind.value for kind in kinds)}")
    for (status, to), kinds in moves.items():
        rest = [kind for kind in kinds if status not in working or kind not in common.get(to, [])]
        if rest:
            lines.append(f"  {status.value} --> {to.value}: {', '.join(kind.value for kind in rest)}")
    lines.append(f"  {Status.CLOSED.value} --> [*]")
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def _is_working(status: Status) -> bool:
    return EventKind.ACTION_INTENDED in TRANSITIONS[status]


def _from_all(working: list[Status], to: Status) -> list[EventKind]:
    """The events that lead there from every working state."""
    return [kind for kind in EventKind if all(TRANSITIONS[status].get(kind) is to for status in working)]

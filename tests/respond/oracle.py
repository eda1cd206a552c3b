"""What was forbidden and happened all the same: from the effects, the log and the words of the configuration.

Written plainly, a rule a function, each a sentence about one deed. Never does: ask the guard, the ledger or anything
else that is to be judged; the log and the file of effects are enough.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from quell.incident.event import Event, EventKind
from quell.incident.incident import ENDED, Incident, fold
from quell.store import queries
from quell.store.database import Database
from quell.store.events import to_us
from tests.audited import faults
from tests.fakes.counting import REPLICAS, RISKS
from tests.respond.play import Played
from tests.respond.stories import ALERTS, OWNED_BY, SERVICES, Act, Book

K = EventKind
RISK_ORDER = ("none", "low", "medium", "high", "irreversible")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Deed:
    """An effect that happened, with what the log tells of it. Times are microseconds."""

    key: str
    effects: tuple[dict[str, Any], ...]
    intended: Event
    before: tuple[Event, ...]
    """The incident's events before the intent."""
    incident: Incident
    until: int
    """When it was over: its own end, or that of the process in whose hands it was."""
    at: int
    """When it was decided on."""

    @property
    def action(self) -> str:
        return str(self.effects[0]["action"])

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.effects[0]["params"])

    @property
    def undoes(self) -> bool:
        return bool(self.effects[0]["undoes"])

    @property
    def service(self) -> str:
        return str(self.params["service"])

    @property
    def run(self) -> str:
        return self.key.split("/")[0]

    @property
    def touches(self) -> set[str]:
        return {*self.intended.payload["targets"], f"service/{self.service}"}

    @property
    def magnitude(self) -> float | None:
        return self.intended.payload["magnitude"]


class Oracle:
    def __init__(self, played: Played, connection: sa.Connection) -> None:
        self.played, self.story, self.rails = played, played.story, played.story.rails
        self.incidents = queries.recent_incidents(connection, "default", limit=500)
        self.logs = {one.id: queries.timeline(connection, one.tenant, one.id) for one in self.incidents}
        query = sa.text("select key, action, intended_at, state from quell_intents")
        self.ledger = {row.key: row for row in connection.execute(query)}

    @cached_property
    def deeds(self) -> list[Deed]:
        by_key: dict[str, list[dict[str, Any]]] = {}
        ends: dict[str, int] = {}
        for line in self.played.effects:
            if "ends" in line:
                ends[line["key"]] = line["ends"]
            else:
                by_key.setdefault(line["key"], []).append(line)
        return [self._deed(key, effects, ends.get(key)) for key, effects in by_key.items()]

    def _deed(self, key: str, effects: list[dict[str, Any]], ended: int | None) -> Deed:
        incident = next(one for one in self.incidents if key.startswith(f"run:{one.id}."))
        log = self.logs[incident.id]
        [intended] = [event for event in log if event.kind is K.ACTION_INTENDED and event.payload["key"] == key]
        before = tuple(event for event in log if event.seq < intended.seq)
        until = ended or self.played.lives[effects[-1]["life"]][1]
        at = self.ledger[key].intended_at if key in self.ledger else to_us(intended.at)
        return Deed(key, tuple(effects), intended, before, incident, until, at)

    # The words of the configuration.

    def limit(self, deed: Deed, name: str, unsaid: Any = None) -> Any:
        """What it says of the action, else of its class of risk."""
        for rules, of in (("actions", deed.action), ("risks", RISKS[deed.action])):
            if name in (said := self.rails.get(rules, {}).get(of, {})):
                return said[name]
        return unsaid

    def blast(self, deed: Deed, name: str, unsaid: Any = None) -> Any:
        return (self.limit(deed, "blast_radius") or {}).get(name, self.rails.get("blast_radius", {}).get(name, unsaid))

    def book(self, deed: Deed) -> Book:
        return self.story.books[ALERTS.index(str(deed.incident.runbook).title())]

    def act(self, deed: Deed) -> Act:
        return self.book(deed).acts[int(deed.key.split("/")[1].removesuffix(".undo").removeprefix("fix"))]

    def applies(self, period: dict[str, Any] | None, deed: Deed) -> bool:
        fits = period is not None and deed.service in period.get("services", SERVICES)
        return fits and deed.action in period.get("actions", RISKS)

    # Why somebody had to agree, and whether they did.

    def reasons_to_ask(self, deed: Deed) -> Iterator[str]:
        freeze, hours = self.story.freeze, self.story.hours
        if self.act(deed).people:
            yield "the runbook asks"
        if self.book(deed).mode == "approve":
            yield "the runbook is in approve mode"
        if self.limit(deed, "requires_approval"):
            yield "the guardrails ask"
        if RISK_ORDER.index(RISKS[deed.action]) >= RISK_ORDER.index(
            self.rails.get("approval_from_risk", "irreversible")
        ):
            yield "its risk asks"
        if freeze and freeze["on"] and freeze["ask"] and self.applies(freeze, deed):
            yield "a freeze asks"
        if hours and not hours["on"] and hours["ask"] and self.applies(hours, deed):
            yield "the hours ask"
        breaker = {"enabled": True, "after": 3, **self.rails.get("breaker", {})}
        if breaker["enabled"] and (count := self.repaired_before(deed)) >= breaker["after"]:
            yield f"it was repaired {count} times before"
        if any(event.kind is K.APPROVAL_REQUESTED and event.payload["node"] == deed.key for event in deed.before):
            yield "somebody was asked"

    def repaired_before(self, deed: Deed) -> int:
        """By other runs, since somebody heard that it is counted anew."""
        since = max((at for service, at in self.played.resets if service == deed.service), default=0)
        others = [one for one in self.deeds if one.service == deed.service and not one.undoes and one.run != deed.run]
        return len({one.run for one in others if since < one.at < deed.at})

    def agreement(self, deed: Deed) -> str:
        """What is wrong with it; empty when enough people agreed to just this."""
        asked = [event.payload for event in deed.before
                 if event.kind is K.APPROVAL_REQUESTED and event.payload["node"] == deed.key]  # fmt: skip
        if len(asked) != 1:
            return "nobody was asked"
        name = asked[0]["approval"]
        about = [event for event in deed.before if event.payload.get("approval") == name]
        answers = [event.payload for event in about if event.kind is K.APPROVAL_ANSWERED]
        if [one["answer"] for one in answers] != ["approved"]:
            return f"the answer was {[one['answer'] for one in answers]}"
        agreed = {_person(event.payload["by"]) for event in about if event.kind in (K.NOTED, K.APPROVAL_ANSWERED)}
        said = {_person(who) for one, who, what in self.played.said if (one, what) == (name, "approved")}
        if len(agreed) < max(1, self.act(deed).people) or not agreed <= said:
            return f"{sorted(agreed)} agreed, and {sorted(said)} said so"
        shown = {"action": deed.action, "targets": deed.intended.payload["targets"], "params": deed.params}
        text = json.dumps(shown, sort_keys=True, separators=(",", ":"))
        if hashlib.sha256(text.encode()).hexdigest() != asked[0]["hash"]:
            return "what was agreed to is not what was done"
        if (deed.magnitude or 0) > 2 * float(asked[0]["before"].split()[1]):
            return "it had grown since"
        return ""


def _person(name: str) -> str:
    return " ".join(name.lower().split())


def _rate(text: str) -> tuple[int, float]:
    count, _, per = text.partition("/")
    unit = next(unit for unit in UNITS if per.endswith(unit))
    return int(count), float(per.removesuffix(unit)) * UNITS[unit] * 1_000_000


# The rules: each says what is wrong with a deed.


def _allowed(oracle: Oracle, deed: Deed) -> Iterator[str]:
    named = deed.action in oracle.rails.get("actions", {})
    if not oracle.limit(deed, "allow", named or oracle.rails.get("default_allow", True)):
        yield "it is not allowed"
    if oracle.book(deed).mode == "dry_run":
        yield "it was to be a dry run"
    if deed.service not in SERVICES or deed.incident.service not in SERVICES:
        yield "of that service nobody knows"


def _ours(oracle: Oracle, deed: Deed) -> Iterator[str]:
    rule = {"enforced": True, "also": {}, **oracle.rails.get("ownership", {})}
    owned_by = OWNED_BY.get(deed.service, "")
    owner = oracle.book(deed).owner or OWNED_BY.get(str(deed.incident.service), "")
    also = rule["also"].get(owner, ())
    if rule["enforced"] and owned_by not in ("", owner) and not {"*", deed.service} & set(also) and not deed.undoes:
        yield f"{owner!r} acted on what is {owned_by}'s"


def _within(oracle: Oracle, deed: Deed) -> Iterator[str]:
    """How much, how boldly, of how many replicas."""
    own = oracle.act(deed).limits
    most = [limit for limit in (oracle.limit(deed, "max_magnitude"), own.get("max_magnitude")) if limit is not None]
    if most and (deed.magnitude is None or deed.magnitude > min(most)):
        yield f"it did {deed.magnitude}, at most {min(most)}"
    levels = [
        own.get("level", ["low", "high"]),
        (oracle.limit(deed, "parameters") or {}).get("level", {}).get("one_of", ["low", "high"]),
    ]
    if any(deed.params["level"] not in level for level in levels):
        yield f"level {deed.params['level']}"
    at_once = len(deed.intended.payload["targets"])
    if deed.undoes:
        return
    if at_once > oracle.blast(deed, "targets", REPLICAS):
        yield f"{at_once} replicas at once"
    if oracle.blast(deed, "share") and at_once > REPLICAS / 2:
        yield f"{at_once} of {REPLICAS} replicas at once"
    if oracle.blast(deed, "keep_last", True) and at_once == REPLICAS:
        yield "no replica was left"


def _rarely(oracle: Oracle, deed: Deed) -> Iterator[str]:
    """The window that ends with it, for each of its targets; what is taken back waits for no rate."""
    if deed.undoes:
        return
    for text in (oracle.limit(deed, "rate"), oracle.act(deed).limits.get("rate")):
        count, per_us = _rate(text) if text else (0, 0.0)
        for target in deed.touches if text else ():
            like = [one.at for one in oracle.deeds
                    if one.action == deed.action and target in one.touches and not one.undoes]  # fmt: skip
            if (found := sum(deed.at - per_us < at <= deed.at for at in like)) > count:
                yield f"{found} times on {target}, at most {text}"


def _one_after_the_other(oracle: Oracle, deed: Deed) -> Iterator[str]:
    most, regions = oracle.blast(deed, "regions"), {deed.params["region"]}
    for one in oracle.deeds:
        beside = one.key != deed.key and one.at < deed.at < one.until
        if beside and deed.touches & one.touches:
            yield f"{one.key} was acting on {sorted(deed.touches & one.touches)}"
        if beside:
            regions.add(one.params["region"])
    if most is not None and len(regions) > most and not deed.undoes:
        yield f"in {sorted(regions)} at once"


def _in_time(oracle: Oracle, deed: Deed) -> Iterator[str]:
    if deed.undoes:
        return
    freeze, hours = oracle.story.freeze, oracle.story.hours
    if freeze and freeze["on"] and not freeze["ask"] and oracle.applies(freeze, deed):
        yield "changes are frozen"
    if hours and not hours["on"] and not hours["ask"] and oracle.applies(hours, deed):
        yield "it is out of hours"


def _agreed(oracle: Oracle, deed: Deed) -> Iterator[str]:
    if deed.undoes:  # of the action itself; what a runbook names instead would be an action of its own
        return
    for reason in oracle.reasons_to_ask(deed):
        if wrong := oracle.agreement(deed):
            yield f"{reason}: {wrong}"


def _not_paused(oracle: Oracle, deed: Deed) -> Iterator[str]:
    """Each effect: the first began with its intent, a later one at some moment of its own life."""
    belongs = {"all": "", "tenant": "default", "service": deed.service, "action": deed.action,
               "runbook": deed.incident.runbook}  # fmt: skip
    for number, effect in enumerate(deed.effects):
        began = oracle.played.lives[effect["life"]][0] if number else deed.at
        ended = effect["at"] if number else deed.at
        for pause in oracle.played.pauses:
            if pause.name == belongs[pause.scope] and pause.since < began and ended < pause.until:
                yield f"{pause.scope} {pause.name} is paused"


def _in_nobodys_hands(oracle: Oracle, deed: Deed) -> Iterator[str]:
    known = fold(deed.before)
    if known.assignee is not None:
        yield f"{known.assignee} has taken the incident"
    if known.status in ENDED:
        yield "the incident had ended"


def _once(oracle: Oracle, deed: Deed) -> Iterator[str]:
    lives = [effect["life"] for effect in deed.effects]
    if len(lives) > (1 if deed.action == "once" else len(set(lives))):
        yield f"it was done {len(lives)} times"
    if any(effect["params"] != deed.params for effect in deed.effects):
        yield "it was done differently the second time"


def _as_written_down(oracle: Oracle, deed: Deed) -> Iterator[str]:
    row = oracle.ledger.get(deed.key)
    if row is None or (row.action, row.intended_at > deed.effects[0]["at"]) != (deed.action, False):
        yield f"the ledger says {row}"


RULES: dict[str, Callable[[Oracle, Deed], Iterator[str]]] = {
    "allowed": _allowed, "ownership": _ours, "magnitude": _within, "rate": _rarely, "exclusive": _one_after_the_other,
    "periods": _in_time, "approval": _agreed, "paused": _not_paused, "taken": _in_nobodys_hands, "once": _once,
    "ledger": _as_written_down,
}  # fmt: skip


def judge(played: Played) -> list[str]:
    """Everything that is wrong with what happened."""
    database = Database(played.database)
    try:
        found = [f"the chain: {fault}" for fault in faults(database)]
        with database.engine.connect() as connection:
            oracle = Oracle(played, connection)
            found += [f"{name}: {deed.key}: {wrong}" for deed in oracle.deeds for name, rule in RULES.items()
                      for wrong in rule(oracle, deed)]  # fmt: skip
            found += [f"the row of {one.id} is not the fold of its events" for one in oracle.incidents
                      if fold(oracle.logs[one.id]) != one]  # fmt: skip
    finally:
        database.close()
    known = {one.id for one in oracle.incidents}
    found += [f"incident {name} was opened, and is lost" for name in {*played.opened} - known]
    for one in played.ends.values():
        held = one.status in ENDED or one.waiting or one.escalated_to or one.assignee
        if not held and one.outcome != "dry_run":
            found.append(f"incident {one.id} is in nobody's hands: {one.status}, {one.outcome}: {one.reason}")
    return found

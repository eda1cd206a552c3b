"""An action made ready: its plug-in found, its parameters filled, and what it can see of the world before and after.

Never does: change anything; the frame acts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quell.engine import ledger
from quell.engine.ledger import Intent
from quell.errors import Permanent, Transient
from quell.incident.action import ActionOutcome, Effect, Preview, Result
from quell.incident.finding import Finding
from quell.incident.pause import Reach
from quell.ports import ActionType, Command, Probe, spellings
from quell.respond.limits import ActionRule
from quell.respond.look import answer, params_of
from quell.respond.means import Context, Means
from quell.respond.rails import Guardrails
from quell.respond.view import environment
from quell.runbook.expr import Absent, Program, Scope, compile
from quell.runbook.plan import Act
from quell.runbook.scope import action_scope

CONFIRM_POLL_S = 0.25


class Request(BaseModel):
    """What the interpreter asks of the frame. ``undoes``: the effect this pass takes back, ``undone`` whose it was.

    ``late``: somebody asked for it after the incident.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: Context
    act: Act
    key: str
    target: str = ""
    extra: dict[str, Any] = Field(default_factory=dict)
    findings: dict[str, Finding] = Field(default_factory=dict)
    outcomes: dict[str, ActionOutcome] = Field(default_factory=dict)
    clauses: tuple[str, ...] = ()
    undoes: Effect | None = None
    undone: str = ""
    late: bool = False

    @property
    def is_own_undo(self) -> bool:
        """Taken back by the action type itself, not by another call that the runbook names."""
        return self.undoes is not None and self.act.undo.call is None


@dataclass(frozen=True, slots=True)
class Prepared:
    """An action ready to be done."""

    request: Request
    kind: ActionType
    params: Any
    env: dict[str, Any]
    probe: Probe
    scope: Scope | None
    runbook: str
    owner: str
    owned_by: str
    rails: Guardrails
    environment: str
    intent: Intent | None = None
    commands: tuple[Command, ...] = ()

    @property
    def acts_on(self) -> str | None:
        """The service that it acts on, by name: the one that its parameters say, else the incident's own."""
        return self.kind.service_of(self.params) or self.request.context.service

    @property
    def rule(self) -> ActionRule:
        """The limits of this action there."""
        return self.rails.rule(self.kind.name, self.kind.risk)

    @property
    def reach(self) -> Reach:
        """What it belongs to."""
        return Reach(self.request.context.tenant, self.acts_on, self.runbook, self.kind.name)

    @property
    def service(self) -> tuple[str, ...]:
        """The service as a whole, as a target; none when it is not known."""
        return (f"service/{self.acts_on}",) if self.acts_on else ()

    def touches(self, preview: Preview) -> tuple[str, ...]:
        """What is leased: the targets, and the service as a whole."""
        return (*preview.targets, *self.service)

    async def preview(self) -> Preview:
        """The dry run, with the undo that the runbook says. Raises ``Transient`` or ``Permanent``.

        Of an action's own undo the intent is the preview, as much back as there was forth: its forward dry run would
        look at the wrong direction.
        """
        if self.request.is_own_undo and self.intent is not None:
            done = self.intent.request
            targets, magnitude = tuple(done.get("targets", ())), done.get("magnitude")
            return Preview(call=f"undo: {done['call']}", targets=targets, magnitude=magnitude)
        seen = await answer(self.kind.dry_run(self.params, self.probe), self.request.act.timeout_s)
        undo = self.request.act.undo
        if undo.never:
            return seen.model_copy(update={"undo": None})
        if undo.call is None:
            return seen
        own = {k: v for k, v in undo.call.config.items() if self.request.act.call.config.get(k) != v}
        said = ", ".join(f"{name}: {value}" for name, value in own.items())
        return seen.model_copy(update={"undo": f"on {' or '.join(undo.on)}: {undo.call.type} {said}".strip()})

    @property
    def looks_before_acting(self) -> bool:
        """Whether there is a condition to be met, or a value to be remembered, before it acts."""
        act, undoes = self.request.act, self.request.undoes is not None
        return not undoes and bool(self.kind.precondition or act.precondition or act.capture)

    @property
    def asks_afterwards(self) -> bool:
        """Whether there is a postcondition."""
        return self.request.undoes is None and bool(self.request.act.postcondition or self.kind.postcondition)

    async def broken_precondition(self) -> tuple[str, str] | None:
        """(condition, explanation) of the first that does not hold: the action's own, then the runbook's."""
        conditions = [text for text in (self.kind.precondition, self.request.act.precondition) if text]
        if not conditions or self.request.undoes is not None:
            return None
        env = await self._observe()
        for text in conditions:
            program = self._program(text)
            if not program.holds(env):
                return text, program.explain(env).render()
        return None

    async def confirm(self, outcome: ActionOutcome, foreseen: Mapping[str, Any]) -> tuple[ActionOutcome, str]:
        """Poll the postcondition until it holds or its time is over; it may settle what is unknown.

        ``foreseen``: the facts of the dry run, for what only it could know (which release "previous" was).
        """
        own = self.request.act.postcondition
        text = own.condition if own else self.kind.postcondition
        if outcome.result is Result.UNKNOWN:
            text = self.proof()
        if text is None or self.request.undoes is not None:
            return outcome, ""
        within_s = own.within_s if own else self.kind.postcondition_within_s
        program = self._program(text)
        known = {**outcome.output, **foreseen, "output": outcome.output, "captured": outcome.captured}
        deadline = time.monotonic() + within_s
        while True:
            seen = await self._observed()
            env = {
                **self.env,
                **known,
                **{name: value for name, value in seen.items() if not _left_to(known, name, value)},
            }
            why = program.explain(env).render()
            if program.holds(env):
                if outcome.result is Result.UNKNOWN:
                    settled = {"result": Result.DONE, "summary": f"it did happen: {why}"}
                    outcome = outcome.model_copy(update=settled)
                return outcome, why
            if time.monotonic() >= deadline or self.kind.observe is None:
                break
            await asyncio.sleep(CONFIRM_POLL_S)
        if outcome.result is Result.UNKNOWN:
            return outcome, why
        summary = f"{outcome.summary}; postcondition does not hold after {within_s:g} s: {why}"
        return outcome.model_copy(update={"result": Result.FAILED, "summary": summary[:2000]}), why

    async def seen_done(self, foreseen: Mapping[str, Any]) -> tuple[bool | None, str]:
        """Whether the world is now as only this action would have left it; None when that cannot be told."""
        text = self.proof()
        if text is None:
            return None, "of this action nobody can see whether it was done"
        seen = await self._observed()
        known = {**foreseen, "output": {}, "captured": {}}
        env = {**self.env, **known, **{name: one for name, one in seen.items() if not _left_to(known, name, one)}}
        program = self._program(text)
        holds = program.verdict(env)
        return (holds if isinstance(holds, bool) else None), program.explain(env).render()

    def proof(self) -> str | None:
        """What holds only if it was done: of a service that is up nobody can tell whether it was restarted."""
        own = self.request.act.postcondition
        if self.kind.settles and self.kind.postcondition:
            return f"({self.kind.postcondition})" + (f" && ({own.condition})" if own else "")
        return own.condition if own and self.kind.postcondition is None else None

    async def captured(self) -> dict[str, Any]:
        """Values to remember before acting. Raises ``Transient`` or ``Permanent``."""
        queries = self.request.act.capture
        if not queries or self.request.undoes is not None:
            return dict(self.request.extra.get("captured", {}))
        if self.kind.capture is None:
            raise Permanent(f"{self.kind.name} cannot capture values", "invalid")
        return await answer(self.kind.capture(self.params, queries, self.probe), self.request.act.timeout_s)

    async def _observe(self) -> dict[str, Any]:
        return {**self.env, **await self._observed()}

    async def _observed(self) -> dict[str, Any]:
        """What the action itself sees now; what it cannot see is absent."""
        if self.kind.observe is None:
            return {}
        try:
            reading = await answer(self.kind.observe(self.params, self.probe), self.request.act.timeout_s)
        except (Transient, Permanent) as error:
            return dict.fromkeys(self.kind.facts, Absent(str(error), error.error_class))
        missing = {
            name: Absent(why.reason, why.error_class, at_least=why.at_least) for name, why in reading.missing.items()
        }
        return {**missing, **reading.facts}

    def _program(self, text: str) -> Program:
        return compile(text, None if "..." in self.request.act.facts else self.scope)


def _left_to(known: Mapping[str, Any], name: str, value: Any) -> bool:
    """What the observation leaves open without a fault, and the dry run or the outcome knows."""
    return isinstance(value, Absent) and value.error_class is None and name in known


async def prepare(means: Means, request: Request) -> Prepared:
    """Find the plug-in and fill its parameters. Raises ``NotFound``, ``Unfilled``."""
    plan = await means.plan(request.context.plan)
    kind = means.world.registry.action(request.act.call.type)
    env = environment(
        plan, request.findings, alert=request.context.alert, incident=request.context.view, outcomes=request.outcomes,
        variables=request.context.variables, extra=request.extra,
    )  # fmt: skip
    config = _complete(dict(request.act.call.config), kind, request)
    params = tightened(params_of(kind.params, config, env), config, env, _limits(request, kind), kind)

    def owner_of(service: str | None) -> str:
        known = means.world.services.get(service or "")
        return known.owner if known else ""

    # A runbook that says no owner is of whoever owns what it is for.
    owner = plan.owner or owner_of(plan.service or request.context.service)
    acts_on = kind.service_of(params) or request.context.service
    owned_by, where = owner_of(acts_on), means.environment_of(acts_on)
    probe = means.world.probe(timeout_s=request.act.timeout_s, key=request.key)
    intent = None
    if request.undone:
        intent = await means.database.glance(lambda connection: ledger.find(connection, request.undone))
    return Prepared(
        request,
        kind,
        params,
        env,
        probe,
        action_scope(plan, request.act),
        plan.id,
        owner,
        owned_by,
        means.rails.of(request.context.tenant, where),
        where,
        intent,
        tuple(kind.commands_of(params)),
    )


def _complete(config: dict[str, Any], kind: ActionType, request: Request) -> dict[str, Any]:
    """The incident's service and the region of a ``for_each`` where the runbook names none, and what was captured."""
    fields = kind.params.model_fields
    if "service" in fields and not any(name in config for name in ("service", "deployment", "target")):
        config["service"] = request.context.service
    if "region" in fields and "region" not in config and "region" in request.extra:
        config["region"] = "${region}"
    if "captured" in fields and request.extra.get("captured"):
        config["captured"] = request.extra["captured"]
    return config


def _limits(request: Request, kind: ActionType) -> Mapping[str, Any]:
    return request.act.guard.spelled(spellings(kind.params)).limits


def tightened(
    params: Any, config: Mapping[str, Any], env: Mapping[str, Any], limits: Mapping[str, Any], kind: ActionType
) -> Any:
    """The runbook's guard over the parameters that are limits: the lower number, the longer list, never looser."""
    tighter: dict[str, Any] = {}
    for name, limit in limits.items():
        if name not in kind.params.model_fields:
            continue
        # Read as the plug-in reads it, so that 5m and 300 are compared as the same.
        given, asked = getattr(params, name), getattr(params_of(kind.params, {**config, name: limit}, env), name)
        if isinstance(given, int | float) and isinstance(asked, int | float):
            tighter[name] = min(given, asked)
        elif isinstance(given, list | tuple) and isinstance(asked, list | tuple):
            tighter[name] = type(given)([*given, *(one for one in asked if one not in given)])
        else:
            tighter[name] = asked
    return params.model_copy(update=tighter)

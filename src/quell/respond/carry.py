"""Carrying out one decision: its steps one after the other, an action once per target, batch by batch.

Changes are never made side by side within a decision. Inside a workflow: everything here is deterministic but what it
asks the engine to do. Never does: choose the decision, judge whether it helped in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from quell.incident.action import ActionOutcome, Asks, Effect, Preview, Result, Risk, Verdict
from quell.incident.event import EventKind, NewEvent
from quell.respond import approve, frame, oblige
from quell.respond.approvers import demanded
from quell.respond.away import away
from quell.respond.means import TELL, Means
from quell.respond.prepared import Request
from quell.respond.state import Carried, Done, Run
from quell.runbook.expr import ExprError, compile
from quell.runbook.plan import Act, Approve, Decision, Notify, Undo, Wait
from quell.runbook.quantities import spoken
from quell.runbook.scope import decision_scope
from quell.runbook.template import fill
from quell.runbook.window import parse_window

BY_HAND = {"approved": Result.DONE, "done": Result.DONE, "failed": Result.FAILED}
STATE_OF = {Result.DONE: "done", Result.DRY_RUN: "done", Result.SKIPPED: "skipped"}


Pulse = Callable[[Run, str], Coroutine[Any, Any, str]]
Tell = Callable[[Run, str, str, str], Coroutine[Any, Any, None]]


class Carrier:
    """Carries out decisions for the interpreter.

    ``pulse`` tells between batches whether things got worse; ``tell`` gives a message to somebody.
    """

    def __init__(self, means: Means, pulse: Pulse, tell: Tell) -> None:
        self.means = means
        self._pulse, self._tell = pulse, tell

    async def carry_out(self, run: Run, decision: Decision, clauses: Sequence[str]) -> Carried:
        states: dict[str, str] = {"decide": "done"}
        outcomes: list[ActionOutcome] = []
        paged = False
        stopped = ""
        for name in _order(run, decision):
            if name in run.kept:
                states[name] = "done"
                continue
            node = run.plan.by_id[name]
            if not self._ready(run, decision, name, states):
                states[name] = "skipped"
                continue
            if isinstance(node, Act):
                ended, stopped = await self._act(run, node, clauses)
                outcomes += ended
                run.outcomes[name] = _summary(node, ended)
                states[name] = STATE_OF.get(run.outcomes[name].result, "failed")
            elif isinstance(node, Approve):
                outcomes.append(await self._manual(run, node))
                states[name] = STATE_OF.get(outcomes[-1].result, "failed")
            elif isinstance(node, Wait) and await self._waited(run, node):
                # Hours may have passed: what was done before stays done, everything else is looked at anew.
                run.kept |= {one for one, state in states.items() if state == "done"}
                return Carried(tuple(outcomes), paged, stopped, waited=decision.id)
            else:
                if isinstance(node, Notify):
                    await self.means.durable.step("notify", self._noted, run, node)
                states[name] = "done"
                paged = paged or (isinstance(node, Notify) and node.escalate)
        return Carried(tuple(outcomes), paged, stopped)

    def _ready(self, run: Run, decision: Decision, name: str, states: Mapping[str, str]) -> bool:
        """Nothing is changed unless all that should be before it is done; a page asks for one way to it only."""
        incoming = run.plan.incoming(name, decision.id)
        holds = [edge.on in ("settled", states[edge.source]) for edge in incoming if edge.source in states]
        enough = any if isinstance(run.plan.by_id[name], Notify) else all
        return bool(holds) and enough(holds)

    # Nodes that are not actions.

    async def _waited(self, run: Run, node: Wait) -> bool:
        """Wait, if it must. False: the window is open, or the time has passed."""
        if run.context.hands_off or (node.id in run.waited and not node.window):
            return False
        left = await self.means.durable.step("until", self._until, run, node)
        if left <= 0:
            return False
        run.waited.add(node.id)
        async with away(self.means, run.context):
            await self.means.durable.sleep(left)
        return True

    async def _until(self, run: Run, node: Wait) -> float:
        """How long, in seconds; written down, so that whoever looks knows what it waits for."""
        left = parse_window(node.window).wait_s(self.means.world.clock()) if node.window else node.seconds
        if left > 0:
            text = f"{node.name}: waits {spoken(round(left))}" + (f" for {node.window}" if node.window else "")
            key = f"{run.key(node.id)}/waits"
            told = NewEvent(kind=EventKind.MITIGATED, payload={"reason": text}, node=run.key(node.id), key=key)
            await self.means.record(run.context, told)
        return left

    async def _noted(self, run: Run, node: Notify) -> None:
        """Write it down and, where the runbook names somebody and this is no page, tell them."""
        key = run.key(node.id)
        filled = fill(node.message or node.name, run.environment())
        text = str(filled.value if not filled.problems else node.message)
        noted = NewEvent(kind=EventKind.NOTED, payload={"text": text}, node=key, key=f"{key}/noted")
        await self.means.record(run.context, noted)
        if node.to and not node.escalate and not run.context.hands_off:
            await self._tell(run, node.to, text, key)

    async def _manual(self, run: Run, node: Approve) -> ActionOutcome:
        """A step for a person: they say that it is done, that it failed, or that it must not be done."""
        key = run.key(node.id)
        step = ActionOutcome(node=node.id, action=node.name or node.id, result=Result.DRY_RUN, key=key)
        if run.context.hands_off:
            return step.model_copy(update={"summary": f"would ask somebody to do: {node.name or node.id}"})
        asked = await self.means.durable.step("ask", self._ask, run, node, key)
        telling = {"context": run.context.model_dump(mode="json"), "text": f"To do by hand: {node.name or node.id}",
                   "key": f"{key}/tell", "approval": asked["approval"]}  # fmt: skip
        await self.means.durable.child(TELL, telling["key"], telling)
        answer = await approve.wait(self.means, run.context, asked)
        result = BY_HAND.get(answer["answer"], Result.REFUSED)
        rule = answer["answer"] if result is Result.REFUSED else None
        return step.model_copy(update={"result": result, "rule": rule, "summary": approve.spoken(answer)})

    async def _ask(self, run: Run, node: Approve, key: str) -> dict[str, Any]:
        preview = Preview(call=node.name, targets=())
        return await approve.ask(
            self.means, run.context, node, key, preview=preview, digest=approve.approval_id(key), why="a manual step",
            risk=Risk.NONE, instructions=node.instructions, workflow=run.context.run_id, asks=Asks.STEP,
            demands=demanded(node.approval),
        )  # fmt: skip

    # Actions.

    async def _act(self, run: Run, node: Act, clauses: Sequence[str]) -> tuple[list[ActionOutcome], str]:
        """Once, or once per value of ``for_each``, in batches; with why the signals stopped the rest, if they did."""
        if node.for_each is None:
            return [await self._frame(run, node, "", {}, clauses)], ""
        values = _values(run, node)
        if isinstance(values, str):
            return [_not_run(run, node, values)], ""
        outcomes: list[ActionOutcome] = []
        for number, batch in enumerate(_batches(values, node.for_each.batch)):
            if number and (said := await self._stops(run, node, number)):
                return outcomes, f"{node.id} stopped after {len(outcomes)} of {len(values)}: the signals are {said}"
            for target, extra in batch:
                outcomes.append(await self._frame(run, node, target, extra, clauses))
            failed = any(one.result not in (Result.DONE, Result.DRY_RUN) for one in outcomes)
            if failed and "never" not in node.for_each.stop_on:
                return outcomes, ""
        return outcomes, ""

    async def _stops(self, run: Run, node: Act, number: int) -> str:
        """What the signals say between batches, if the runbook stops on it."""
        assert node.for_each is not None
        if not {Verdict.WORSE.value, Verdict.UNCHANGED.value} & set(node.for_each.stop_on):
            return ""
        said = await self.means.durable.step("pulse", self._pulse, run, run.key(node.id, f"pulse{number}"))
        return str(said) if said in node.for_each.stop_on else ""

    async def _frame(
        self, run: Run, node: Act, target: str, extra: Mapping[str, Any], clauses: Sequence[str]
    ) -> ActionOutcome:
        key = run.key(node.id, target)
        request = Request(
            context=run.context, act=node, key=key, target=target, extra=dict(extra), findings=run.findings,
            outcomes=run.outcomes, clauses=tuple(clauses),
        )  # fmt: skip
        raw = await self.means.durable.call(frame.WORKFLOW, key, request.model_dump(mode="json"))
        outcome = ActionOutcome.model_validate(raw)
        if outcome.result is Result.DRY_RUN and run.context.mode == "shadow":
            run.would.append((request, dict(outcome.output.get("facts", {}))))
        can_be_undone = outcome.undo is not None or node.undo.call is not None
        if outcome.result is Result.DONE or (outcome.result is Result.FAILED and can_be_undone):
            run.done.append(Done(request, outcome))
        return outcome

    async def undo(self, run: Run, verdict: str) -> list[ActionOutcome]:
        """Take back, newest first, what declares it for this verdict. Each through the frame."""
        undone = []
        for done in reversed(list(run.done)):
            undo = done.request.act.undo
            if undo.never or verdict not in undo.on or _ruled_out(run, undo):
                continue
            back = undo_of(done)
            if back is None:
                continue
            raw = await self.means.durable.call(frame.WORKFLOW, back.key, back.model_dump(mode="json"))
            undone.append(ActionOutcome.model_validate(raw))
            run.done.remove(done)
            if done.request.act.revert is not None and undone[-1].result is Result.DONE:
                ending = (self.means, run.context, done.outcome.key, f"undone: {verdict}", "quell")
                await self.means.durable.step("unoblige", oblige.end, *ending)
        return undone

    async def oblige(self, run: Run, carried: Carried) -> None:
        """What was just done and is only kept for now has a day on which somebody is asked about it."""
        mine = {one.key for one in carried.outcomes}
        for done in run.done:
            revert, outcome = done.request.act.revert, done.outcome
            if revert is None or outcome.key not in mine or outcome.result is not Result.DONE:
                continue
            back = undo_of(done)
            if back is not None:
                back = back.model_copy(update={"late": True, "key": _undo_key(outcome, "revert")})
            kept = oblige.Kept(
                context=run.context, act=done.request.act, key=outcome.key, what=outcome.summary[:500],
                targets=(outcome.target,) if outcome.target else (), after_s=revert.after_s, owner=revert.ask,
                back=back,
            )  # fmt: skip
            await self.means.durable.step("oblige", oblige.oblige, self.means, kept)
            await self.means.durable.child(oblige.WORKFLOW, kept.workflow, kept.model_dump(mode="json"))


def undo_of(done: Done) -> Request | None:
    """The pass through the frame that takes an outcome back, filled as it was; None when nothing can."""
    outcome, act = done.outcome, done.request.act
    if act.undo.call is None and outcome.undo is None:
        return None
    kept = {**(outcome.undo or {}), "captured": outcome.captured}
    if act.undo.call is not None:
        act = act.model_copy(update={"call": act.undo.call, "capture": {}})
    return done.request.model_copy(
        update={
            "act": act.model_copy(update={"requires_approval": False, "for_each": None}), "key": _undo_key(outcome),
            "undoes": Effect(summary=outcome.summary, output=outcome.output, undo=kept), "undone": outcome.key,
            "extra": {**done.request.extra, "captured": outcome.captured}, "clauses": (),
        }
    )  # fmt: skip


def _ruled_out(run: Run, undo: Undo) -> bool:
    """Whether ``unless`` forbids the undo; what cannot be told forbids it too."""
    if undo.unless is None:
        return False
    try:
        return compile(undo.unless, decision_scope(run.plan)).verdict(run.environment()) is not False
    except ExprError:
        return True


def _undo_key(outcome: ActionOutcome, how: str = "undo") -> str:
    """The execution it takes back, with another node: what was done in two rounds is undone twice."""
    run, node, visit, target = outcome.key.split("/", 3)
    return f"{run}/{node}.{how}/{visit}/{target}"


def _order(run: Run, decision: Decision) -> Iterator[str]:
    """The decision's steps in an order in which every needed one comes first."""
    left, out = list(dict.fromkeys(decision.then)), set[str]()
    while left:
        free = next(
            (name for name in left
             if all(e.source not in left for e in run.plan.incoming(name, decision.id) if e.source != name)),
            left[0],
        )  # fmt: skip
        left.remove(free)
        out.add(free)
        yield free


def _values(run: Run, node: Act) -> list[tuple[str, dict[str, Any]]] | str:
    """The targets of a ``for_each`` with the variables each gets, or why there are none."""
    assert node.for_each is not None
    name, template = next(iter(node.for_each.values.items()))
    filled = fill(template, run.environment())
    if filled.problems:
        return f"for_each: {filled.problems[0].message}"
    values = filled.value if isinstance(filled.value, list | tuple) else [filled.value]
    unique = list(dict.fromkeys(str(value) for value in values))
    return [(value, {name: value}) for value in unique] if unique else f"for_each: no {name} to act on"


def _batches(values: list[tuple[str, dict[str, Any]]], size: int) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _not_run(run: Run, node: Act, why: str) -> ActionOutcome:
    return ActionOutcome(
        node=node.id, action=node.call.type, result=Result.REFUSED, summary=why, rule="for_each", key=run.key(node.id)
    )


def _summary(node: Act, outcomes: Sequence[ActionOutcome]) -> ActionOutcome:
    """One outcome for a node with several targets: done only when all (or the quorum) are."""
    if len(outcomes) == 1:
        return outcomes[0]
    done = sum(one.result is Result.DONE for one in outcomes)
    needed = node.for_each.quorum if node.for_each and node.for_each.quorum else len(outcomes)
    if done >= needed:
        return outcomes[-1].model_copy(update={"result": Result.DONE, "summary": f"{done} of {len(outcomes)} done"})
    first = next(one for one in outcomes if one.result is not Result.DONE)
    return first.model_copy(update={"summary": f"{done} of {len(outcomes)} done; {first.target}: {first.summary}"})

"""The native dialect: YAML or JSON runbooks → the Plan.

``sniff`` recognises it; ``lower`` gives the Plan and every problem of form. What conditions and templates mean is
checked by ``quell.runbook.lint`` on the Plan. Never does: I/O, know a plug-in (it asks the Vocabulary).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from quell.errors import Problem
from quell.runbook import plan as words
from quell.runbook.dialects import Lowered
from quell.runbook.dialects._native_flaws import flaws, guard_of, variables_of
from quell.runbook.dialects._native_rest import rest_of
from quell.runbook.dialects._native_schema import DecisionText, DiagnosticText, RequireText, RunbookText, VerifyText
from quell.runbook.dialects._native_steps import ActionText, RemediationText, UndoText
from quell.runbook.dialects._native_words import MEANT
from quell.runbook.invalid import problems_of
from quell.runbook.names import names_of, root_of
from quell.runbook.source import Document, snake
from quell.runbook.template import references
from quell.runbook.vocabulary import ActionWord, CheckWord, Vocabulary, nearest

NAME = "runbook"
NOTIFY = "notify"
_QUOTED = re.compile(r"""\$\{[^}]*\}|"[^"]*"|'[^']*'|`[^`]*`""")
_DOTTED = re.compile(r"\b[A-Za-z_][A-Za-z0-9_-]*\.[A-Za-z_]")
_OF_UNDO = ("type", "config", "unless", "none")
MARKS = frozenset({"diagnostics", "decision_tree", "decisionTree", "remediations", "triggers"})


def sniff(document: Document) -> bool:
    """True for a mapping that has one of our sections."""
    return isinstance(document.data, dict) and "kind" not in document.data and bool(MARKS & set(document.data))


def lower(document: Document, vocabulary: Vocabulary) -> Lowered:
    """The Plan and all problems of form; where that is broken, the Plan of the rest, which must not run."""
    try:
        text = RunbookText.model_validate(document.data)
    except ValidationError as error:
        problems = problems_of(error, document, RunbookText, MEANT)
        return _lower_rest(document, vocabulary, error, problems)
    lowering = _Lowering(document, text, vocabulary)
    return Lowered(lowering.plan(), lowering.problems)


def _lower_rest(document: Document, vocabulary: Vocabulary, error: ValidationError, problems: list[Problem]) -> Lowered:
    remains = rest_of(document, error, problems)
    if remains is None:
        return Lowered(None, problems)
    text, rest = remains
    lowering = _Lowering(document, text, vocabulary)
    plan = lowering.plan()
    return Lowered(plan, [*problems, *filter(rest.believes, lowering.problems)], rest.believes)


class _Lowering:
    """One runbook on its way to a Plan."""

    def __init__(self, document: Document, text: RunbookText, vocabulary: Vocabulary) -> None:
        self.document, self.text, self.vocabulary = document, text, vocabulary
        self.problems: list[Problem] = []
        self.check_ids = [check.id for check in text.diagnostics]
        self.act_ids = [step.id for step in text.remediations]
        self.undefined: dict[str, words.Notify] = {}

    def plan(self) -> words.Plan:
        text = self.text
        self.problems += flaws(self.document, text, self.vocabulary)
        checks = [self._check(index, check) for index, check in enumerate(text.diagnostics)]
        acts = [self._step(index, step) for index, step in enumerate(text.remediations)]
        decisions, edges = self._decisions()
        decide = words.Set(id=words.DECIDE, name="Decide", origin=self._at("decision_tree"))
        return words.Plan(
            id=text.id, name=text.name or text.id, description=text.description, severity=text.severity,
            service=text.service, owner=text.owner, mode=text.mode, decision_mode=text.decision_mode,
            max_rounds=text.max_rounds, variables=self._variables(), triggers=tuple(self._triggers()),
            priority=text.priority, nodes=(*checks, decide, *acts, *self.undefined.values()),
            edges=(*self._check_edges(), *edges), decisions=tuple(decisions),
            verify=self._verify(checks), escalation=self._escalation(), origin=self._at(),
            rate_limit=words.RateLimit(**text.rate_limit.model_dump()) if text.rate_limit else None,
        )  # fmt: skip

    def _at(self, *path: str | int) -> words.Origin:
        return self.document.origin(path)

    def _complain(self, path: tuple[str | int, ...], message: str, rule: str, **more: Any) -> None:
        origin = self._at(*path)
        self.problems.append(Problem(message, rule, origin.file, origin.line, origin.column, origin.path, **more))

    def _variables(self) -> dict[str, Any]:
        """The runbook's own, and of the site's those that it reads; the site's values go first."""
        site = self.vocabulary.variables
        texts = [self.text.model_dump(include={"diagnostics", "decision_tree", "remediations", "verify"})]
        read = {root_of(reference.path) for reference in references(texts)}
        return {**self.text.variables, **{k: v for k, v in site.items() if k in read or k in self.text.variables}}

    def _triggers(self) -> Iterable[words.Trigger]:
        for index, trigger in enumerate(self.text.triggers):
            yield words.Trigger(
                type=trigger.type, alert_name=trigger.alert_name, labels=trigger.labels, operator=trigger.operator,
                metric_query=trigger.metric_query, threshold=trigger.threshold, for_s=trigger.for_,
                matchers=tuple(trigger.matchers), severity=self._severities(trigger.severity),
                source=tuple(dict.fromkeys(trigger.source)), origin=self._at("triggers", index),
            )  # fmt: skip

    def _severities(self, given: Iterable[str]) -> tuple[str, ...]:
        """Each word as the severity that it stands for; one that stands for none stays, and lint tells."""
        alerts = self.vocabulary.alerts
        return tuple(dict.fromkeys((alerts.severity(one) if alerts else None) or one for one in given))

    # Diagnostics.

    def _check(self, index: int, text: DiagnosticText) -> words.Check:
        word = self.vocabulary.checks.get(text.type)
        call = self._call(text, word)
        path = ("diagnostics", index)
        if word is None:
            self._unknown_type((*path, "type"), "check", text.type, self.vocabulary.checks)
        return words.Check(
            id=text.id, name=text.name or text.id, description=text.description, timeout_s=text.timeout,
            call=call,
            interpret=words.Interpret(**text.interpret.model_dump()),
            facts=dict(word.facts(call.config)) if word else {"...": "any"},
            lag_s=word.lag_s(call.config) if word else 0.0,
            retry=self._retry(text.retry), origin=self._at(*path),
        )  # fmt: skip

    def _call(self, text: ActionText | DiagnosticText, word: CheckWord | ActionWord | None) -> words.Call:
        """What needs a service and names none is about the runbook's own."""
        config = {snake(key): value for key, value in text.config.items()}
        if word and self.text.service and "service" not in config and (faults := word.faults(config)):
            about_ours = {"service": self.text.service, **config}
            config = about_ours if len(word.faults(about_ours)) < len(faults) else config
        return words.Call(type=text.type, config=config)

    def _retry(self, given: Any) -> words.Retry:
        return words.Retry(attempts=given.attempts, backoff_s=given.backoff) if given else words.Retry()

    def _unknown_type(self, path: tuple[str | int, ...], kind: str, name: str, known: Mapping[str, Any]) -> None:
        self._complain(
            path, f"unknown {kind} type {name!r}", f"unknown-{kind}", found=name,
            expected="one of " + ", ".join(sorted(known)), nearest=nearest(name, known),
        )  # fmt: skip

    def _check_edges(self) -> list[words.Edge]:
        edges = []
        for check in self.text.diagnostics:
            needed = {*check.needs, *self._read_by(check)} & set(self.check_ids) - {check.id}
            edges += [words.Edge(source=need, target=check.id, on="settled") for need in sorted(needed)]
            edges.append(words.Edge(source=check.id, target=words.DECIDE, on="settled"))
        return edges

    def _read_by(self, check: DiagnosticText) -> set[str]:
        """Other checks that its parameters or conditions read: they come first without being asked to."""
        read = {reference.path for reference in references(check.config)}
        for condition in check.interpret.model_dump().values():
            read |= names_of(condition)
        return {root_of(path) for path in read}

    # Remediations.

    def _step(self, index: int, text: RemediationText) -> words.Node:
        origin = self._at("remediations", index)
        shared: dict[str, Any] = {"id": text.id, "name": text.name or text.id, "description": text.description,
                                  "origin": origin}  # fmt: skip
        if text.type == "escalate":
            return words.Notify(**shared, to=text.to, message=text.description or text.instructions, escalate=True)
        if text.type == "manual":
            given = text.approval
            approval = self._approval(text) if given else words.Approval(expires_s=3600.0)
            return words.Approve(**shared, instructions=text.instructions or text.description, approval=approval)
        if text.type == "wait":
            return words.Wait(**shared, seconds=text.duration, window=text.window)
        if text.action is not None and text.action.type == NOTIFY:
            return self._notify(index, text, shared)
        return self._act(index, text, shared)

    def _notify(self, index: int, text: RemediationText, shared: dict[str, Any]) -> words.Notify:
        """Telling somebody changes no system, so it needs no frame: it is a node of its own."""
        assert text.action is not None
        config = {snake(key): value for key, value in text.action.config.items()}
        for key in config.keys() - {"to", "channel", "target", "message", "text"}:
            path = ("remediations", index, "action", "config", key)
            self._complain(path, f"notify has no parameter {key!r}", "parameter", expected="to and message",
                           nearest=nearest(key, ("to", "channel", "message", "text")))  # fmt: skip
        to = config.get("to") or config.get("channel") or config.get("target") or self._primary()
        message = config.get("message") or config.get("text") or text.description or shared["name"]
        return words.Notify(**shared, to=str(to), message=str(message))

    def _primary(self) -> str:
        return self.text.escalation.primary if self.text.escalation else ""

    def _act(self, index: int, text: RemediationText, shared: dict[str, Any]) -> words.Act:
        assert text.action is not None
        word = self.vocabulary.actions.get(text.action.type)
        if word is None:
            self._unknown_type(
                ("remediations", index, "action", "type"),
                "action",
                text.action.type,
                dict.fromkeys((*self.vocabulary.actions, NOTIFY)),
            )
        call = self._call(text.action, word)
        return words.Act(
            **shared, call=call, timeout_s=text.timeout, retry=self._retry(text.retry),
            requires_approval=text.requires_approval or text.approval is not None, approval=self._approval(text),
            guard=self._guard(index, text, call, word), capture=text.capture, precondition=text.precondition,
            postcondition=self._postcondition(text), undo=self._undo(index, text.undo, call),
            revert=words.Revert(after_s=text.revert.after, ask=text.revert.ask) if text.revert else None,
            on_unknown=text.on_unknown, facts=dict(word.facts) if word else {"...": "any"},
            for_each=self._for_each(text),
        )  # fmt: skip

    def _approval(self, text: RemediationText) -> words.Approval:
        given = text.approval
        if given is None:
            return words.Approval()
        return words.Approval(
            ask=given.from_, people=given.people, expires_s=given.expires, on_no_answer=given.on_no_answer,
            approvers=tuple(given.approvers), not_requester=given.not_requester,
        )  # fmt: skip

    def _guard(
        self, index: int, text: RemediationText, call: words.Call, word: CheckWord | ActionWord | None
    ) -> words.Guard:
        limits = word.limits if isinstance(word, ActionWord) else {}
        guard, problems = guard_of(self.document, ("remediations", index, "guard"), text.guard, call, limits)
        self.problems += problems
        return guard

    def _postcondition(self, text: RemediationText) -> words.Postcondition | None:
        given = text.postcondition
        return words.Postcondition(condition=given.check, within_s=given.within) if given else None

    def _undo(self, index: int, given: UndoText, call: words.Call) -> words.Undo:
        if given.none:
            return words.Undo(never=True)
        extra = {}
        for key, value in (given.model_extra or {}).items():
            if self._is_parameter(given.type or call.type, snake(key)):
                extra[snake(key)] = value
            elif near := nearest(key, _OF_UNDO):
                path = ("remediations", index, "undo", key)
                self._complain(path, f"unknown key {key!r}", "unknown-key", found=key, nearest=near)
            else:
                extra[snake(key)] = value
        undo_call = None
        if given.type:
            undo_call = words.Call(type=given.type, config={**given.config, **extra})
        elif extra or given.config:
            undo_call = words.Call(type=call.type, config={**call.config, **given.config, **extra})
        return words.Undo(call=undo_call, on=tuple(given.on), unless=given.unless)

    def _is_parameter(self, action: str, name: str) -> bool:
        """Whether an action type takes a parameter of this name, whatever its value."""
        word = self.vocabulary.actions.get(action)
        unknown = {fault.place for fault in word.faults({name: None}) if fault.found == name} if word else set()
        return (name,) not in unknown

    def _for_each(self, text: RemediationText) -> words.ForEach | None:
        given = text.for_each
        if given is None:
            return None
        return words.ForEach(
            values={name: (given.model_extra or {})[name] for name in variables_of(text)[:1]},
            batch=given.batch,
            stop_on=tuple(given.stop_on),
            quorum=given.quorum,
        )

    # Decisions.

    def _decisions(self) -> tuple[list[words.Decision], list[words.Edge]]:
        decisions, edges = [], []
        for index, text in enumerate(self.text.decision_tree):
            decision = f"d{index + 1}"
            steps = [self._known_step(index, position, name) for position, name in enumerate(text.then)]
            decisions.append(
                words.Decision(
                    id=decision, when=text.condition, then=tuple(steps), description=text.description,
                    reads=tuple(sorted(self._reads(text))), origin=self._at("decision_tree", index),
                )
            )  # fmt: skip
            edges += self._branch(decision, steps)
        return decisions, edges

    def _reads(self, text: DecisionText) -> set[str]:
        roots = {root_of(path) for path in names_of(text.condition)}
        return roots & set(self.check_ids)

    def _known_step(self, index: int, position: int, name: str) -> str:
        if name in self.act_ids or name in self.undefined:
            return name
        is_check = ", it is a diagnostic: then names what to do" if name in self.check_ids else ""
        self._complain(
            ("decision_tree", index, "then", position), f"remediation {name!r} is not defined{is_check}",
            "undefined-remediation", found=name, nearest=nearest(name, self.act_ids),
        )  # fmt: skip
        # It still runs: a step nobody wrote is a page, never a guess.
        self.undefined[name] = words.Notify(
            id=name, name=name, escalate=True, message=f"The runbook names the step {name!r} and does not define it.",
            origin=self._at("decision_tree", index, "then", position),
        )  # fmt: skip
        return name

    def _branch(self, decision: str, steps: list[str]) -> list[words.Edge]:
        """One after the other; a page also when a step before it failed; nothing else after a failure."""
        edges = []
        order = list(dict.fromkeys(steps))
        known = {step.id: step for step in self.text.remediations}
        acted = words.DECIDE
        for position, step in enumerate(order):
            pages = step in self.undefined or (step in known and known[step].type == "escalate")
            before = order[position - 1] if pages and position else acted
            edges.append(words.Edge(source=before, target=step, decision=decision, on="settled" if pages else "done"))
            # A page is told on the way; what comes after it still hangs on the step before it.
            acted = acted if pages else step
            for need in known[step].needs if step in known else ():
                if need not in self.act_ids or need == step:
                    continue  # told where it is written
                if need not in order[:position]:
                    where = ("decision_tree", int(decision[1:]) - 1, "then", steps.index(step))
                    self._complain(where, f"{step!r} needs {need!r} before it in the same decision", "unmet-need")
                elif need != before:
                    edges.append(words.Edge(source=need, target=step, decision=decision))
        return edges

    # The end.

    def _verify(self, checks: list[words.Check]) -> words.Verify:
        text = self.text.verify or VerifyText(signals=["trigger", *self._judging()])
        for position, signal in enumerate(text.signals):
            if signal != "trigger" and signal not in self.check_ids:
                what = "a remediation, not a diagnostic" if signal in self.act_ids else "not a diagnostic"
                self._complain(
                    ("verify", "signals", position), f"signal {signal!r} is {what}", "unknown-step", found=signal,
                    expected="trigger or a diagnostic", nearest=nearest(signal, ["trigger", *self.check_ids]),
                )  # fmt: skip
        lags = [check.lag_s for check in checks if check.id in text.signals]
        fors = [trigger.for_ for trigger in self.text.triggers]
        if "trigger" in text.signals:
            lags.append(self.vocabulary.scrape_s + max(fors, default=0.0))
        earliest = max(lags, default=0.0)
        policy = {"keep_and_page": "page", "keep_and_diagnose": "diagnose"}.get(text.on_improved, text.on_improved)
        within = text.within if text.within is not None else max(600.0, 2 * (earliest + text.stable_for))
        every = text.every or max(0.2, min(5.0, within / 20, (text.stable_for or within) / 4))
        return words.Verify.model_validate(
            {"signals": tuple(text.signals), "stable_for_s": text.stable_for, "within_s": within, "every_s": every,
             "earliest_s": earliest, "require": self._require(text.require), "on_recovered": text.on_recovered,
             "on_improved": policy, "on_unchanged": text.on_unchanged, "on_worse": text.on_worse,
             "on_cannot_tell": text.on_cannot_tell}
        )  # fmt: skip

    def _judging(self) -> list[str]:
        """Without a verify section: the checks that a decision reads and that can be critical are the signals."""
        reads = {root_of(path) for text in self.text.decision_tree for path in names_of(text.condition)}
        known = self.vocabulary.checks
        return [
            check.id
            for check in self.text.diagnostics
            if check.id in reads and check.interpret.healthy and check.type in known and known[check.type].signal
        ]

    def _require(self, given: RequireText | None) -> words.Require | None:
        if given is None:
            return None
        if given.condition is None:
            beside = {snake(key): value for key, value in (given.model_extra or {}).items()}
            config = {snake(key): value for key, value in given.config.items()} | beside
            read = words.Interpret(**given.interpret.model_dump()) if given.interpret else None
            shown = str(config.get("query", given.type))
            return words.Require(check=words.Call(type=given.type, config=config), interpret=read, text=shown)
        text = given.condition
        roots = {root_of(path) for path in names_of(text)}
        ours = {*self.check_ids, "trigger", "alert", "vars", *self.text.variables}
        # PromQL has no dotted names outside of quotes and templates.
        if (roots and roots <= ours) or _DOTTED.search(_QUOTED.sub("", text)):
            return words.Require(condition=text, text=text)
        # Not about our checks: a PromQL comparison, which gives a series when it holds and nothing when not.
        return words.Require(check=words.Call(type="prometheus_query", config={"query": text}), text=text)

    def _escalation(self) -> words.Escalation:
        text = self.text.escalation
        if text is None:
            return words.Escalation()
        return words.Escalation(
            primary=text.primary, secondary=next(iter(text.secondary), None), further=tuple(text.secondary[1:]),
            after_s=text.escalate_after_minutes * 60, immediately=text.page == "immediately",
            repage_s=text.repage_after_minutes * 60,
        )  # fmt: skip


__all__ = ["NAME", "lower", "sniff"]

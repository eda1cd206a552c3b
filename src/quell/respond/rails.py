"""The guardrails together, as ``guardrails`` in the configuration says them.

What is more special adds to what is more general and replaces what it names: what ships, the class of risk, the
action, the tenant or environment. Never does: judge (the guard does), count (the ledger does).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import Field, PrivateAttr, model_validator

from quell.errors import InvalidInput, Problem
from quell.incident.action import Risk
from quell.ports import Command
from quell.respond.commands import Misfit, misfit
from quell.respond.limits import (
    DEFAULT_ACTIONS,
    ActionRule,
    BlastRadius,
    Breaker,
    Freeze,
    Hours,
    Ownership,
    Rule,
    over,
)  # fmt: skip
from quell.respond.shapes import Commands
from quell.runbook.plan import Mode
from quell.runbook.vocabulary import nearest


@dataclass(frozen=True, slots=True)
class ActionWords:
    """An action's own name, and its parameters by every name they may be written under.

    ``open``: it has parameters that hold values under names of the author's (``identifiers``, ``params``).
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    open: bool = False


class Override(Rule):
    """Other limits for some tenants or environments. What it says replaces what it names, and nothing else."""

    tenants: tuple[str, ...] = ()
    """For these tenants."""
    environments: tuple[str, ...] = ()
    """In these environments."""
    mode: Mode | None = None
    """The most that runs there may do, such as ``shadow`` for a tenant that is new."""
    default_allow: bool | None = None
    """Whether an action that nothing names may run there."""
    approval_from_risk: Risk | None = None
    """From this risk on somebody must agree there."""
    risks: dict[Risk, ActionRule] = Field(default_factory=dict)
    """Limits there of every action of a class of risk."""
    actions: dict[str, ActionRule] = Field(default_factory=dict)
    """Limits there by action."""
    blast_radius: BlastRadius | None = None
    """How much may be away at once there."""
    breaker: Breaker | None = None
    """How often a service is repaired there before somebody is asked."""
    commands: Commands = None
    """What commands may run there, instead of those that may elsewhere."""

    @model_validator(mode="after")
    def _of_somebody(self) -> Override:
        if not self.tenants and not self.environments:
            raise ValueError(
                "say for which tenants or environments it is; for all of them, say it outside of overrides"
            )
        return self

    def applies(self, tenant: str, environment: str) -> bool:
        return (not self.tenants or tenant in self.tenants) and (
            not self.environments or environment in self.environments
        )


class Guardrails(Rule):
    """The outer limits. ``default_allow`` False: only actions that are named may run."""

    mode: Mode = "auto"
    """The most that any run may do: ``dry_run``, ``shadow``, ``approve`` or ``auto``. A runbook may say less."""
    default_allow: bool = True
    approval_from_risk: Risk = Risk.IRREVERSIBLE
    """From this risk on somebody must agree."""
    risks: dict[Risk, ActionRule] = Field(default_factory=dict)
    """Limits of every action of a class of risk."""
    actions: dict[str, ActionRule] = Field(default_factory=dict)
    """Limits by action."""
    blast_radius: BlastRadius = BlastRadius()
    """How much may be away at once."""
    freezes: tuple[Freeze, ...] = ()
    """When nothing is changed."""
    hours: tuple[Hours, ...] = ()
    """When alone something is changed."""
    breaker: Breaker = Breaker()
    """How often a service is repaired before somebody is asked."""
    ownership: Ownership = Ownership()
    """Whose runbooks may act on whose services."""
    commands: Commands = None
    """What commands a runbook may run, in checks and in actions: each fits one of these shapes. Left out, any may."""
    overrides: tuple[Override, ...] = ()
    """Other limits for some tenants or environments; of several that apply the later counts."""

    _rules: dict[tuple[str, Risk | None], ActionRule] = PrivateAttr(default_factory=dict)
    _places: dict[tuple[int, ...], Guardrails] = PrivateAttr(default_factory=dict)
    """What was asked before: the answers are always the same. By what applies, since any name may be asked for."""

    @property
    def named_actions(self) -> tuple[str, ...]:
        """Every action that a rule names, as it was written."""
        return tuple(dict.fromkeys(name for _, name in self._named()))

    def _named(self) -> Iterator[tuple[str, str]]:
        """(path, action) of every rule that names one."""
        for path, rules in self._tables():
            yield from ((f"{path}.{name}", name) for name in rules)
        for what, periods in (("freezes", self.freezes), ("hours", self.hours)):
            for number, period in enumerate(periods):
                for key in ("actions", "exempt"):
                    for index, name in enumerate(getattr(period, key, ())):
                        yield f"{what}[{number}].{key}[{index}]", name

    def _tables(self) -> Iterator[tuple[str, dict[str, ActionRule]]]:
        yield "actions", self.actions
        for number, override in enumerate(self.overrides):
            yield f"overrides[{number}].actions", override.actions

    def named_by(
        self, words: Mapping[str, ActionWords], known: Sequence[str] = (), services: Collection[str] | None = None
    ) -> Guardrails:
        """The same rules under the actions' and parameters' own names; ``words`` by what was written.

        Raises ``InvalidInput``: a rule under a misspelt name would guard nothing, and nobody would see it.
        ``services``: those of the catalogue; None when there is none to hold names against.
        """
        problems = [
            _misspelt("action type", name, {*words, *known}, path) for path, name in self._named() if name not in words
        ]
        for path, rules in self._tables():
            for name, rule in rules.items():
                spelled = words[name].parameters if name in words else {}
                if name in words and not words[name].open:
                    wrong = (parameter for parameter in rule.parameters if parameter not in spelled)
                    problems += [
                        _misspelt("parameter", one, spelled, f"{path}.{name}.parameters.{one}") for one in wrong
                    ]
        if services is not None:
            problems += [_misspelt("service", name, services, path) for path, name in self._services(services)]
        if problems:
            raise InvalidInput(problems)

        def own(rules: Mapping[str, ActionRule]) -> dict[str, ActionRule]:
            return {words[name].name: _spelled(rule, words[name]) for name, rule in rules.items()}

        def called(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(words[name].name for name in names)

        return self._with(
            {
                "actions": own(self.actions),
                "overrides": tuple(one.model_copy(update={"actions": own(one.actions)}) for one in self.overrides),
                "freezes": tuple(
                    one.model_copy(update={"actions": called(one.actions), "exempt": called(one.exempt)})
                    for one in self.freezes
                ),
                "hours": tuple(one.model_copy(update={"actions": called(one.actions)}) for one in self.hours),
            }
        )

    def _services(self, services: Collection[str]) -> Iterator[tuple[str, str]]:
        """(path, service) of every rule that names one which the catalogue has not."""
        for what, periods in (("freezes", self.freezes), ("hours", self.hours)):
            for number, period in enumerate(periods):
                for index, name in enumerate(period.services):
                    if name not in services:
                        yield f"{what}[{number}].services[{index}]", name
        for owner, names in self.ownership.also.items():
            for index, name in enumerate(names):
                if name != "*" and name not in services:
                    yield f"ownership.also.{owner}[{index}]", name

    def of(self, tenant: str, environment: str) -> Guardrails:
        """The rules that hold there, with every override that applies."""
        applying = tuple(number for number, one in enumerate(self.overrides) if one.applies(tenant, environment))
        if not applying:
            return self
        if applying not in self._places:
            found = self
            for number in applying:
                found = found._overridden(self.overrides[number])
            self._places[applying] = found
        return self._places[applying]

    def _overridden(self, by: Override) -> Guardrails:
        said: dict[str, Any] = {
            name: getattr(by, name)
            for name in ("mode", "default_allow", "approval_from_risk")
            if name in by.model_fields_set
        }
        said["risks"] = _merged(self.risks, by.risks)
        said["actions"] = _merged(self.actions, by.actions)
        if by.blast_radius is not None:
            said["blast_radius"] = by.blast_radius.over(self.blast_radius)
        if by.breaker is not None:
            said["breaker"] = over(self.breaker, by.breaker)
        if by.commands is not None:
            said["commands"] = by.commands
        return self._with(said)

    def _with(self, said: Mapping[str, Any]) -> Guardrails:
        changed = self.model_copy(update=said)
        changed._rules, changed._places = {}, {}  # a copy would share them
        return changed

    def misfit(self, command: Command) -> Misfit | None:
        """Where a command fits nothing that may run anywhere; None also where any may."""
        if self.commands is None:
            return None
        return misfit(command, [*self.commands, *(shape for one in self.overrides for shape in one.commands or ())])

    def rule(self, action: str, risk: Risk | None = None) -> ActionRule:
        """What was configured over what holds anyway: naming an action loosens only what it names."""
        if (action, risk) not in self._rules:
            self._rules[action, risk] = self._rule(action, risk)
        return self._rules[action, risk]

    def _rule(self, action: str, risk: Risk | None) -> ActionRule:
        own, named = DEFAULT_ACTIONS.get(action, ActionRule()), self.actions.get(action)
        classed = self.risks.get(risk) if risk is not None else None
        if classed is not None:
            own = over(own, classed)
        allowed = own.allow if classed is not None and "allow" in classed.model_fields_set else self.default_allow
        own = over(own, named) if named is not None else own.model_copy(update={"allow": allowed})
        blast = own.blast_radius.over(self.blast_radius) if own.blast_radius else self.blast_radius
        return own.model_copy(update={"blast_radius": blast})


K = TypeVar("K")


def _merged(wider: Mapping[K, ActionRule], closer: Mapping[K, ActionRule]) -> dict[K, ActionRule]:
    both = {name: over(wider[name], rule) if name in wider else rule for name, rule in closer.items()}
    return {**wider, **both}


def _spelled(rule: ActionRule, words: ActionWords) -> ActionRule:
    names = words.parameters
    return rule.model_copy(update={"parameters": {names.get(name, name): one for name, one in rule.parameters.items()}})


def _misspelt(what: str, name: str, names: Iterable[str], path: str) -> Problem:
    near = nearest(name, names)
    hint = f"; did you mean {near!r}?" if near else ""
    rule = f"unknown-{what.split(maxsplit=1)[0]}"
    return Problem(f"no {what} {name!r}{hint}", rule, path=f"guardrails.{path}", nearest=near)

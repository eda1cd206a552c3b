"""How a Plan hangs together: what can never run, waits for itself or ends too early; and what is likely not meant.

Never does: make an error of what can be right, such as evidence that changes nothing or a page that nobody gets.
"""

from __future__ import annotations

from collections.abc import Iterator

from quell.runbook.lint.remark import Remark
from quell.runbook.plan import DECIDE, Check, Notify, Plan
from quell.runbook.quantities import spoken
from quell.runbook.vocabulary import Vocabulary, nearest


def unreachable(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A remediation that no decision names, and a decision behind ``otherwise``, can never run."""
    used = {step for decision in plan.decisions for step in decision.then}
    for node in plan.nodes:
        if node.id not in used and not isinstance(node, Check) and node.id != DECIDE:
            yield Remark(node.origin, (), f"step {node.id!r} is in no decision and can never run", "unreachable")
    for before, entry in zip(plan.decisions, plan.decisions[1:], strict=False):
        if before.when is None:
            yield Remark(entry.origin, (), "a decision after otherwise can never be reached", "unreachable")


def cycles(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Checks that need one another wait for ever."""
    needs = {check.id: {e.source for e in plan.edges if e.target == check.id} for check in plan.checks}
    done: set[str] = set()
    while True:
        free = {name for name, sources in needs.items() if name not in done and not (sources & set(needs)) - done}
        if not free:
            break
        done |= free
    for name in sorted(set(needs) - done):
        yield Remark(plan.by_id[name].origin, ("needs",), f"{name!r} waits for itself through its needs", "cycle")


def window(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A verification that ends before its signals can tell always says the wrong thing."""
    verify = plan.verify
    needed = verify.earliest_s + verify.stable_for_s
    if plan.decisions and verify.within_s < needed:
        yield Remark(
            plan.origin, ("verify", "within"),
            f"verification ends after {spoken(verify.within_s)}, before its signals can tell: they need "
            f"{spoken(verify.earliest_s)} to show a change and must hold for {spoken(verify.stable_for_s)}",
            "verify-too-short", found=spoken(verify.within_s), expected=f"at least {spoken(needed)}",
        )  # fmt: skip


def service_known(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """With a catalogue at hand, the runbook's service is in it."""
    known = vocabulary.services
    if known is not None and plan.service and plan.service not in known:
        yield Remark(
            plan.origin, ("service",), f"service {plan.service!r} is not in the catalogue", "unknown-service",
            "warning", nearest=nearest(plan.service, known),
        )  # fmt: skip


# Likely not meant.


def unread_critical(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A check that can be critical without any decision caring is evidence that changes nothing."""
    for check in plan.checks:
        if check.interpret.critical and plan.decisions and not _reads_critical(plan, check.id):
            yield Remark(
                check.origin, ("interpret", "critical"), f"no decision reads that {check.id!r} is critical",
                "unread-critical", "warning",
            )  # fmt: skip


def _reads_critical(plan: Plan, name: str) -> bool:
    for entry in plan.decisions:
        if entry.when is None or name not in entry.reads:
            continue
        text = entry.when.replace('"', "'").replace(" ", "")
        if f"{name}.status" not in text or f"{name}.status===" + "'critical'" in text:
            return True
        if f"{name}.status=='critical'" in text or f"{name}.status!=" in text:
            return True
    return False


def no_interpret(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A check without conditions is always ``no_data``; fine when decisions read its facts, else forgotten."""
    read = {name for entry in plan.decisions for name in entry.reads}
    for check in plan.checks:
        if (
            not any((check.interpret.healthy, check.interpret.warning, check.interpret.critical))
            and check.id not in read
        ):
            yield Remark(
                check.origin, (), f"{check.id!r} has no interpret and no decision reads it", "unread", "warning"
            )


def missing_escalation(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Somebody has to be told when nothing helps."""
    if not plan.escalation.primary:
        yield Remark(plan.origin, (), "no escalation: nobody is told when nothing helps", "no-escalation", "warning")
    pages = any(isinstance(node, Notify) and node.escalate for node in plan.nodes)
    if plan.decisions and not pages and not plan.escalation.primary:
        yield Remark(plan.origin, (), "no step escalates either", "no-escalation", "warning")

"""Findings, outcomes and the alert as conditions and templates read them, in the shape of ``runbook.scope``.

Pure. Never does: judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quell.incident.action import ActionOutcome, Result
from quell.incident.alert import Alert
from quell.incident.finding import Finding, Health
from quell.runbook.expr import Absent, Flag
from quell.runbook.plan import Act, Plan
from quell.runbook.scope import STATUSES


def finding_view(finding: Finding) -> dict[str, Any]:
    """A check as seen by its id: its facts, and over them status, flags and counts."""
    members = finding.targets or ()
    statuses = [target.status for target in members] or [finding.status]
    age = (
        (finding.looked_at - finding.observed_at).total_seconds() if finding.looked_at and finding.observed_at else None
    )
    view: dict[str, Any] = {
        **{name: Absent(reason, at_least=finding.at_least.get(name)) for name, reason in finding.missing.items()},
        **finding.facts,
        "status": finding.status.value,
        "error_class": finding.error_class or finding.facts.get("error_class") or "",
        "message": finding.message,
        "target_count": len(members),
        "age_s": Absent("the age of the evidence is not known") if age is None else age,
    }
    for status in STATUSES:
        labels: dict[str, list[str]] = {}
        for target in members:
            if target.status.value == status:
                for label, value in target.labels.items():
                    labels.setdefault(label, []).append(value)
        view[status] = Flag(finding.status.value == status, labels)
        view[f"any_{status}"] = status in statuses
        view[f"all_{status}"] = all(one.value == status for one in statuses)
    return view


def outcome_view(outcome: ActionOutcome | None) -> dict[str, Any]:
    """A remediation as seen by its id; one that has not started yet is all false."""
    result = outcome.result if outcome else None
    return {
        "started": result in (Result.DONE, Result.FAILED, Result.UNKNOWN),
        "done": result is Result.DONE, "failed": result is Result.FAILED, "refused": result is Result.REFUSED,
        "unknown": result is Result.UNKNOWN, "result": result.value if result else "",
        "summary": outcome.summary if outcome else "", "output": outcome.output if outcome else {},
    }  # fmt: skip


def alert_view(alert: Alert | None) -> dict[str, Any]:
    if alert is None:
        return {"labels": {}, "annotations": {}, "name": "", "status": ""}
    return {
        "name": alert.name, "status": alert.status.value, "service": alert.service or "",
        "severity": alert.severity.value if alert.severity else "", "fingerprint": alert.fingerprint,
        "source": alert.source, "summary": alert.summary, "url": alert.url or "", "environment": alert.environment,
        "region": alert.region, "tenant": alert.tenant, "labels": alert.labels, "annotations": alert.annotations,
        "starts_at": alert.starts_at.timestamp() if alert.starts_at else Absent("the alert names no start"),
    }  # fmt: skip


def trigger_finding(firing: Iterable[str], known: bool) -> Finding:
    """The signal that raised the alarm, as a finding: critical while an alert of the incident fires."""
    on = list(firing)
    if not known:
        return Finding(check="trigger", name="Trigger", status=Health.NO_DATA, message="no alert started this run")
    status = Health.CRITICAL if on else Health.HEALTHY
    message = f"{len(on)} alert{'s' if len(on) != 1 else ''} still firing" if on else "every alert has resolved"
    return Finding(check="trigger", name="Trigger", status=status, message=message, facts={"firing": len(on)})


def environment(
    plan: Plan,
    findings: Mapping[str, Finding],
    *,
    alert: Alert | None = None,
    incident: Mapping[str, Any] | None = None,
    outcomes: Mapping[str, ActionOutcome] | None = None,
    variables: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All that a condition or template of this Plan may read now. A check that has not run is absent."""
    not_yet = {check.id: {"status": Absent(f"{check.id} has not run")} for check in plan.checks}
    views = {name: finding_view(finding) for name, finding in findings.items()}
    settings = {**plan.variables, **(variables or {})}
    return {
        **settings,
        **{node.id: outcome_view((outcomes or {}).get(node.id)) for node in plan.nodes if isinstance(node, Act)},
        **not_yet,
        **views,
        "diagnostics": {**not_yet, **views},
        "alert": alert_view(alert),
        "incident": dict(incident or {}),
        "vars": settings,
        **(extra or {}),
    }

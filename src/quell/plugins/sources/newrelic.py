"""New Relic's webhook: an issue of a workflow, in the default template or the one below; or what old policies sent.

```yaml
sources: {newrelic: {token: env:NEWRELIC_HOOK, service_labels: [service, entity]}}
```

In New Relic: a destination Webhook with the URL ``https://quell.example/webhooks/newrelic`` and the bearer token (basic
authentication and a header of one's own work as well), then a workflow that notifies when an issue is activated,
acknowledged and closed. One issue is one alert, named like its first condition; its title is the summary. Labels:
``condition``, ``policy`` and ``entity`` (several, with a comma), ``workflow``, and those that the template adds.

The default template does not say that somebody acknowledged an issue. The template below does, and adds labels; an
issue that is activated and has an owner after somebody did something to it counts as acknowledged by that owner.

A test notification of the old policies is quarantined: it is no alert. Format: docs.newrelic.com/docs/alerts, "Workflow
variables".
Never does: take an acknowledgement or an unknown state for the end of an issue.

```json
{
  "id": {{ json issueId }}, "issueUrl": {{ json issuePageUrl }}, "title": {{ json annotations.title.[0] }},
  "priority": {{ json priority }}, "impactedEntities": {{ json entitiesData.names }},
  "totalIncidents": {{ json totalIncidents }}, "state": {{ json state }}, "trigger": {{ json triggerEvent }},
  "isCorrelated": {{ json isCorrelated }}, "createdAt": {{ createdAt }}, "updatedAt": {{ updatedAt }},
  "sources": {{ json accumulations.source }}, "alertPolicyNames": {{ json accumulations.policyName }},
  "alertConditionNames": {{ json accumulations.conditionName }}, "workflowName": {{ json workflowName }},
  "owner": {{#if owner}}{{ json owner }}{{else}}null{{/if}},
  "labels": {
    "service": {{#if accumulations.tag.service}}{{ json accumulations.tag.service }}{{else}}null{{/if}}
  }
}
```
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from quell.incident.alert import AlertStatus, Severity, severity_of
from quell.plugins.sources import _body
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import MAX_LABELS, Bad, fingerprint, texts, url
from quell.plugins.sources._group import Read, each
from quell.plugins.sources._scalars import moment, prose, text, truth
from quell.plugins.sources._shared_secret import SharedSecret
from quell.ports import Alert

MAX_NAMES = 100
_STATES = {
    "created": AlertStatus.FIRING, "activated": AlertStatus.FIRING, "acknowledged": AlertStatus.ACKNOWLEDGED,
    "closed": AlertStatus.RESOLVED,
}  # fmt: skip
_OLD_STATES = {"open": AlertStatus.FIRING, "acknowledged": AlertStatus.ACKNOWLEDGED, "closed": AlertStatus.RESOLVED}
_NOTHING = ("", "n/a", "null", "none")
_KEPT = (
    "trigger", "sources", "alertPolicyNames", "alertConditionNames", "impactedEntities", "workflowName", "priority",
)  # fmt: skip
_OLD_KEPT = (
    "account_id", "account_name", "condition_id", "event_type", "policy_url", "runbook_url", "targets",
    "incident_acknowledge_url", "duration", "open_violations_count_critical", "closed_violations_count_critical",
    "severity",
)  # fmt: skip


class Params(SharedSecret):
    pass


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    return params.refuses(headers)


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    return params.shown_by(headers)


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """The alert, or its fault as (reason, fragment). Raises ``InvalidInput`` for the body as a whole."""
    read = _body.document(body)
    of = _of_policy if "current_state" in read else _of_workflow
    return each({"": read}, lambda path, entry: of(entry, params, received_at))


def _of_workflow(issue: Mapping[str, Any], params: Params, received_at: datetime) -> Alert:
    name_of_id = "id" if "id" in issue else "issueId"
    issue_id = text(name_of_id, issue.get(name_of_id))
    if not issue_id:
        raise Bad("id: missing")
    owner = _owner(issue)
    status = _status("state", issue, _STATES)
    by_somebody = text("trigger", issue.get("trigger")).upper() in ("", "USER_ACTION")
    if status is AlertStatus.FIRING and owner and by_somebody:
        status = AlertStatus.ACKNOWLEDGED
    title = prose(issue.get("title"))
    conditions, entities = (_names(name, issue) for name in ("alertConditionNames", "impactedEntities"))
    if not (name := conditions[0] if conditions else title):
        raise Bad("title: missing, and alertConditionNames has none")
    labels = {
        **params.labels, **_own_labels("labels", issue.get("labels")),
        **_said({
            "condition": conditions, "policy": _names("alertPolicyNames", issue), "entity": entities,
            "workflow": _names("workflowName", issue),
        }),
    }  # fmt: skip
    place = params.place(texts("labels", labels))
    return Alert(
        source="newrelic",
        name=name,
        status=status,
        fingerprint=fingerprint(name_of_id, issue_id, {}),
        **{**place, "severity": _severity("priority", issue) or place["severity"]},
        labels=labels,
        annotations={"summary": title} if title else {},
        starts_at=moment("createdAt", issue.get("createdAt")),
        ends_at=_first_of(issue, "closedAt", "updatedAt") if status is AlertStatus.RESOLVED else None,
        received_at=received_at,
        url=url("issueUrl", issue.get("issueUrl")),
        details={**_body.kept(issue, _KEPT), **_counted(issue), **_by(status, owner)},
    )


def _of_policy(sent: Mapping[str, Any], params: Params, received_at: datetime) -> Alert:
    """What notification channels sent until New Relic replaced them by workflows, and templates still do."""
    if text("current_state", sent.get("current_state")).lower() == "test":
        raise Bad("current_state: a test notification, which is no alert")
    status = _status("current_state", sent, _OLD_STATES)
    incident, account = (text(name, sent.get(name)) for name in ("incident_id", "account_id"))
    if not incident:
        raise Bad("incident_id: missing")
    conditions = _names("condition_name", sent)
    details = prose(sent.get("details"))
    if not (name := conditions[0] if conditions else details):
        raise Bad("condition_name: missing")
    targets = _targets(sent.get("targets"))
    own: dict[str, str] = {}
    for one in reversed(targets):
        own |= _own_labels("targets.labels", one.get("labels"))
    entities = [text("targets.name", one.get("name")) for one in targets]
    labels = {
        **params.labels, **own,
        **_said({"condition": conditions, "policy": _names("policy_name", sent), "entity": entities}),
    }  # fmt: skip
    place = params.place(texts("targets.labels", labels))
    at = moment("timestamp", sent.get("timestamp"))
    return Alert(
        source="newrelic",
        name=name,
        status=status,
        fingerprint=fingerprint("incident_id", f"{account}.{incident}" if account else incident, {}),
        **{**place, "severity": _severity("severity", sent) or place["severity"]},
        labels=labels,
        annotations={"summary": details} if details else {},
        starts_at=at if status is AlertStatus.FIRING else None,
        ends_at=at if status is AlertStatus.RESOLVED else None,
        received_at=received_at,
        url=url("incident_url", sent.get("incident_url")),
        details={**_body.kept(sent, _OLD_KEPT), **_by(status, _owner(sent))},
    )


# -- what both say


def _first_of(sent: Mapping[str, Any], *names: str) -> datetime | None:
    return next((found for name in names if (found := moment(name, sent.get(name)))), None)


def _status(path: str, sent: Mapping[str, Any], states: Mapping[str, AlertStatus]) -> AlertStatus:
    given = text(path, sent.get(path))
    status = states.get(given.lower())
    if status is None:
        found = short(given) if given else "missing"
        raise Bad(f"{path}: {found}, not one of {', '.join(name.upper() for name in states)}")
    return status


def _severity(path: str, sent: Mapping[str, Any]) -> Severity | None:
    spoken = text(path, sent.get(path))
    return Severity.P3 if spoken.lower() == "medium" else severity_of(spoken)


def _owner(sent: Mapping[str, Any]) -> str:
    """Empty when nobody has it, which New Relic says in several ways."""
    given = sent.get("owner")
    found = prose(given) if isinstance(given, str) else ""
    return "" if found.lower() in _NOTHING else found[:200]


def _by(status: AlertStatus, owner: str) -> dict[str, str]:
    return {"by": owner} if status is AlertStatus.ACKNOWLEDGED and owner else {}


def _names(path: str, sent: Mapping[str, Any]) -> list[str]:
    """A list of names, or one alone; each once, in its order."""
    given = sent.get(path)
    some = given if isinstance(given, list) else [given]
    if len(some) > MAX_NAMES:
        raise Bad(f"{path}: {len(some)} names, more than {MAX_NAMES}")
    return list(dict.fromkeys(found for one in some if (found := text(path, one))))


def _said(names: Mapping[str, list[str]]) -> dict[str, str]:
    return {label: ", ".join(some) for label, some in names.items() if any(some)}


def _own_labels(path: str, given: Any) -> dict[str, str]:
    """``accumulations.tag.NAME`` is a list, and nothing where no entity has the tag."""
    if given is None or given == "":
        return {}
    if not isinstance(given, dict):
        raise Bad(f"{path}: {kind_of(given)}, not an object")
    if len(given) > MAX_LABELS:
        raise Bad(f"{path}: {len(given)} entries, more than {MAX_LABELS}")
    return _said({name: [one for one in _names(name, given) if one.lower() not in _NOTHING] for name in given})


def _targets(given: Any) -> list[Mapping[str, Any]]:
    if given is None or given == "":
        return []
    if not isinstance(given, list):
        raise Bad(f"targets: {kind_of(given)}, not a list")
    if len(given) > MAX_NAMES:
        raise Bad(f"targets: {len(given)} entries, more than {MAX_NAMES}")
    for index, one in enumerate(given):
        if not isinstance(one, dict):
            raise Bad(f"targets[{index}]: {kind_of(one)}, not an object")
    return given


def _counted(issue: Mapping[str, Any]) -> dict[str, Any]:
    """What only helps to judge is kept as it can be read, and never costs the alert."""
    found: dict[str, Any] = {}
    if (correlated := truth(issue.get("isCorrelated"))) is not None:
        found["isCorrelated"] = correlated
    count = prose(issue.get("totalIncidents"))
    if count.isdecimal() and len(count) <= 9:
        found["totalIncidents"] = int(count)
    return found

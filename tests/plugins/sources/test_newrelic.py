"""New Relic's webhook: issues of workflows, incidents of the policies of old, who acknowledged, who may post."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import InvalidInput
from quell.incident.alert import Alert, AlertStatus, Severity
from quell.plugins.sources import newrelic
from quell.plugins.sources.newrelic import Params, parse, verify
from tests.app import house
from tests.plugins.sources.bodies import RECEIVED, Read, damaged, makes_and_ends_one_incident, or_refused, sent, values

ISSUE: dict[str, Any] = {
    "id": "0d4e61c2-77aa-4f0e-9b7b-8b3c5a1f9e10", "issueUrl": "https://radar-api.newrelic.example/issues/0d4e?notifier=W",
    "title": "shop query result is > 9000.0 for 5 minutes on 'Queue is deep'", "priority": "CRITICAL",
    "impactedEntities": ["shop", "shop", "mail"], "totalIncidents": 2, "state": "ACTIVATED", "trigger": "STATE_CHANGE",
    "isCorrelated": False, "createdAt": 1790504100123, "updatedAt": 1790504112345, "sources": ["newrelic"],
    "alertPolicyNames": ["Golden"], "alertConditionNames": ["Queue is deep", "Mail is slow"], "workflowName": "to quell",
}  # fmt: skip
OLD: dict[str, Any] = {
    "owner": "", "severity": "WARNING", "current_state": "open", "policy_name": "Shop", "condition_name": "Disk full",
    "incident_id": 8841, "account_id": 77, "incident_url": "https://alerts.newrelic.example/incidents/8841",
    "targets": [{"id": "1", "name": "q-1", "labels": {"service": "shop"}, "type": "Host"}], "version": "1.0",
    "event_type": "INCIDENT", "details": "Disk is 97 % full", "timestamp": 1790504100000, "condition_id": 5,
}  # fmt: skip


def read(document: Any, **params: Any) -> Read:
    return parse(sent(document), {}, Params(**params), RECEIVED)


def one(document: Any, **params: Any) -> Alert:
    (alert,), quarantined = read(document, **params)
    assert quarantined == []
    return alert


def test_an_issue_comes_through_with_all_it_says() -> None:
    alert = one(ISSUE)
    assert (alert.source, alert.name, alert.status) == ("newrelic", "Queue is deep", AlertStatus.FIRING)
    assert (alert.fingerprint, alert.severity, alert.summary) == (ISSUE["id"], Severity.P1, ISSUE["title"])
    assert alert.labels == {
        "condition": "Queue is deep, Mail is slow", "policy": "Golden", "entity": "shop, mail", "workflow": "to quell",
    }  # fmt: skip
    assert alert.starts_at == datetime(2026, 9, 27, 10, 15, 0, 123000, tzinfo=UTC)
    assert (alert.ends_at, alert.url) == (None, ISSUE["issueUrl"])
    assert (alert.details["isCorrelated"], alert.details["totalIncidents"]) == (False, 2)


def test_an_entity_is_the_service_only_when_the_site_says_so() -> None:
    assert one(ISSUE).service is None
    assert one({**ISSUE, "impactedEntities": ["shop"]}, service_labels=["entity"]).service == "shop"


@pytest.mark.parametrize(
    ("state", "status"),
    [("CREATED", "firing"), ("ACTIVATED", "firing"), ("ACKNOWLEDGED", "acknowledged"), ("CLOSED", "resolved"),
     ("closed", "resolved")],
)  # fmt: skip
def test_every_state(state: str, status: str) -> None:
    alert = one({**ISSUE, "state": state})
    assert alert.status == status
    assert (alert.ends_at is not None) is (status == "resolved")


@pytest.mark.parametrize(
    ("changes", "status", "by"),
    [
        ({"trigger": "USER_ACTION", "owner": "rosa@example.org"}, "acknowledged", "rosa@example.org"),
        ({"trigger": "USER_ACTION"}, "firing", None),
        ({"trigger": "USER_ACTION", "owner": "N/A"}, "firing", None),
        ({"trigger": "USER_ACTION", "owner": None}, "firing", None),
        ({"trigger": "INCIDENT_ADDED", "owner": "rosa@example.org"}, "firing", None),
        ({"trigger": "USER_ACTION", "owner": "rosa@example.org", "state": "CLOSED"}, "resolved", None),
        ({"state": "ACKNOWLEDGED"}, "acknowledged", None),
    ],
)
def test_who_has_an_issue_acknowledged_it(changes: dict[str, Any], status: str, by: str | None) -> None:
    alert = one({**ISSUE, **changes})
    assert (alert.status, alert.details.get("by")) == (status, by)


@pytest.mark.parametrize(
    ("priority", "severity"), [("CRITICAL", "P1"), ("HIGH", "P2"), ("MEDIUM", "P3"), ("LOW", "P4"), ("", None)]
)
def test_priorities(priority: str, severity: str | None) -> None:
    assert one({**ISSUE, "priority": priority}).severity == severity


@pytest.mark.parametrize(
    ("given_", "correlated", "count"),
    [({"isCorrelated": "false", "totalIncidents": "3"}, False, 3), ({"isCorrelated": True}, True, 2),
     ({"isCorrelated": "maybe", "totalIncidents": ["?"]}, None, None)],
)  # fmt: skip
def test_what_only_helps_to_judge_never_costs_the_alert(given_: dict[str, Any], correlated: Any, count: Any) -> None:
    details = one({**ISSUE, **given_}).details
    assert (details.get("isCorrelated"), details.get("totalIncidents")) == (correlated, count)


@pytest.mark.parametrize(
    ("at", "since"),
    [(1790504100123, "2026-09-27T10:15:00.123000+00:00"), ("1790504100123", "2026-09-27T10:15:00.123000+00:00"),
     (1790504100, "2026-09-27T10:15:00+00:00"), ("2026-09-27T10:15:00Z", "2026-09-27T10:15:00+00:00"),
     ("", None), (None, None), (0, None)],
)  # fmt: skip
def test_times_are_numbers_or_texts(at: Any, since: str | None) -> None:
    found = one({**ISSUE, "createdAt": at}).starts_at
    assert (found.isoformat() if found else None) == since


def test_labels_of_the_template_are_lists_texts_or_nothing() -> None:
    labels = {"service": ["shop"], "env": "prod", "team": None, "tier": "N/A", "zone": ["a", "b"]}
    alert = one({**ISSUE, "labels": labels})
    assert alert.service == "shop"
    assert {"env": "prod", "zone": "a, b"}.items() <= alert.labels.items()
    assert not {"team", "tier"} & set(alert.labels)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "DEACTIVATED"}, 'state: "DEACTIVATED", not one of CREATED, ACTIVATED, ACKNOWLEDGED, CLOSED'),
        ({"state": None}, "state: missing, not one of CREATED, ACTIVATED, ACKNOWLEDGED, CLOSED"),
        ({"id": ""}, "id: missing"),
        ({"createdAt": -5}, "createdAt: -5, no such time"),
        ({"title": "", "alertConditionNames": []}, "title: missing, and alertConditionNames has none"),
        ({"labels": ["a"]}, "labels: list, not an object"),
    ],
)
def test_what_is_wrong_is_set_aside_with_its_place(changes: dict[str, Any], reason: str) -> None:
    alerts, quarantined = read({**ISSUE, **changes})
    assert (alerts, [said for said, _ in quarantined]) == ([], [reason])


def test_the_policies_of_old() -> None:
    alert = one(OLD)
    assert (alert.name, alert.status, alert.severity) == ("Disk full", AlertStatus.FIRING, Severity.P3)
    assert (alert.fingerprint, alert.service, alert.summary) == ("77.8841", "shop", "Disk is 97 % full")
    assert alert.labels == {"service": "shop", "condition": "Disk full", "policy": "Shop", "entity": "q-1"}
    assert alert.starts_at == datetime(2026, 9, 27, 10, 15, tzinfo=UTC)
    over = one({**OLD, "current_state": "CLOSED"})
    assert (over.status, over.ends_at, over.fingerprint) == (AlertStatus.RESOLVED, alert.starts_at, "77.8841")
    seen = one({**OLD, "current_state": "acknowledged", "owner": "Rosa"})
    assert (seen.status, seen.details["by"]) == (AlertStatus.ACKNOWLEDGED, "Rosa")


def test_a_test_notification_is_no_alert() -> None:
    alerts, ((reason, _),) = read({**OLD, "current_state": "test", "event_type": "NOTIFICATION"})
    assert (alerts, reason) == ([], "current_state: a test notification, which is no alert")


def test_our_template_is_json_once_new_relic_fills_it() -> None:
    template = re.search(r"```json\n(.*?)```", newrelic.__doc__ or "", re.DOTALL)[1]  # type: ignore[index]
    with_it = re.sub(r"\{\{#if [^}]*\}\}(.*?)\{\{else\}\}.*?\{\{/if\}\}", r"\1", template)
    without = re.sub(r"\{\{#if [^}]*\}\}.*?\{\{else\}\}(.*?)\{\{/if\}\}", r"\1", template)
    for text in (with_it, without):
        assert set(ISSUE) <= set(json.loads(re.sub(r"\{\{[^}]*\}\}", "1", text)))


def test_the_documentation_has_the_same_template() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
    template = re.search(r"```json\n(.*?)```", newrelic.__doc__ or "", re.DOTALL)[1]  # type: ignore[index]
    assert template.split() in [block.split() for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"{{ json issueId }}"])
def test_a_body_that_is_wrong_as_a_whole_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(body)


@given(st.dictionaries(st.sampled_from([*ISSUE, *OLD, "labels", "owner", "closedAt", "issueId"]), values, max_size=4))
def test_no_field_raises_anything_but_invalid_input(fields: dict[str, Any]) -> None:
    for body in (ISSUE, OLD):
        found = or_refused(lambda body=body: read({**body, **fields}))  # type: ignore[misc]
        assert found is None or len(found[0]) + len(found[1]) == 1


@given(damaged(ISSUE), damaged(OLD))
def test_no_damage_raises_anything_but_invalid_input(issue: bytes, old: bytes) -> None:
    or_refused(lambda: read(issue))
    or_refused(lambda: read(old))


def test_the_sender_shows_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWRELIC_HOOK", "s3cret-token")
    assert verify({"Authorization": "Bearer s3cret-token"}, b"", Params(token="env:NEWRELIC_HOOK")) is None
    own = Params(token="env:NEWRELIC_HOOK", header="X-Key")
    assert verify({"X-KEY": "s3cret-token"}, b"", own) is None
    assert verify({"X-KEY": "s3cret"}, b"", own)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("firing", "resolved"),
    [(ISSUE, {**ISSUE, "state": "CLOSED", "trigger": "INCIDENT_CLOSED"}), (OLD, {**OLD, "current_state": "closed"})],
    ids=["workflow", "policy"],
)
async def test_firing_and_resolved_make_and_end_one_incident(tmp_path: Path, firing: Any, resolved: Any) -> None:
    await makes_and_ends_one_incident(tmp_path, "newrelic", firing, resolved)


@pytest.mark.anyio
async def test_an_acknowledgement_there_is_one_here(tmp_path: Path) -> None:
    async with house(tmp_path, []) as home:
        (incident,) = (await home.app.receive("newrelic", {}, sent(ISSUE))).incidents
        await home.app.receive("newrelic", {}, sent({**ISSUE, "trigger": "USER_ACTION", "owner": "rosa@example.org"}))
        assert (await home.app.incident(str(incident))).acknowledged_by == "rosa@example.org"

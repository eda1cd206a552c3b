"""Datadog's webhook: our template as JSON and as a form, the default one, what was left unfilled, who may post."""

import base64
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import InvalidInput
from quell.incident.alert import Alert, AlertStatus, Severity
from quell.plugins.sources import datadog
from quell.plugins.sources.datadog import Params, parse, verify
from tests.plugins.sources.bodies import RECEIVED, Read, damaged, makes_and_ends_one_incident, or_refused, sent, values

TEMPLATE = re.search(r"```json\n(.*?)```", datadog.__doc__ or "", re.DOTALL)[1]  # type: ignore[index]
DEFAULT = json.dumps(
    {"body": "$EVENT_MSG", "last_updated": "$LAST_UPDATED", "event_type": "$EVENT_TYPE", "title": "$EVENT_TITLE",
     "date": "$DATE", "org": {"id": "$ORG_ID", "name": "$ORG_NAME"}, "id": "$ID"}
)  # fmt: skip
FILLED = {
    "ALERT_CYCLE_KEY": "7716548234001122", "ALERT_ID": "4711", "ALERT_TRANSITION": "Triggered",
    "ALERT_TITLE": "Queue is deep", "ALERT_TYPE": "error", "ALERT_PRIORITY": "P2",
    "ALERT_SCOPE": "queue:orders,host:q-1", "ALERT_QUERY": "avg(last_5m):avg:queue.depth{*} > 9000",
    "EVENT_TITLE": "[P2] [Triggered on {queue:orders,host:q-1}] Queue is deep", "EVENT_TYPE": "query_alert_monitor",
    "ID": "99001", "TEXT_ONLY_MSG": "9000 jobs wait", "TAGS": "monitor,service:shop,env:prod,host:other,team:a,team:b",
    "LINK": "https://app.datadoghq.example/event/event?id=99001", "DATE": "1790504100000",
    "LAST_UPDATED": "1790504112345", "ORG_ID": "12", "ORG_NAME": "acme",
}  # fmt: skip
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def filled(template: str = TEMPLATE, **changes: str) -> dict[str, Any]:
    """The template as Datadog fills it: what it does not know stays as it is."""
    known = {**FILLED, **changes}
    return json.loads(re.sub(r"\$([A-Z_]+)", lambda one: json.dumps(known.get(one[1], one[0]))[1:-1], template))


def read(document: Any, headers: dict[str, str] | None = None, **params: Any) -> Read:
    return parse(sent(document), headers or {}, Params(**params), RECEIVED)


def one(document: Any, **params: Any) -> Alert:
    (alert,), quarantined = read(document, **params)
    assert quarantined == []
    return alert


def test_our_template_says_all_there_is() -> None:
    alert = one(filled())
    assert (alert.source, alert.name, alert.status) == ("datadog", "Queue is deep", AlertStatus.FIRING)
    assert (alert.fingerprint, alert.severity, alert.service) == ("7716548234001122", Severity.P2, "shop")
    assert (alert.environment, alert.url) == ("prod", "https://app.datadoghq.example/event/event?id=99001")
    assert alert.labels == {
        "service": "shop", "env": "prod", "host": "q-1", "team": "a,b", "queue": "orders", "monitor_id": "4711",
    }  # fmt: skip
    assert alert.starts_at == datetime(2026, 9, 27, 10, 15, 12, 345000, tzinfo=UTC)
    assert (alert.summary, alert.annotations["description"]) == (FILLED["EVENT_TITLE"], "9000 jobs wait")
    assert alert.details["org"] == {"id": "12", "name": "acme"}
    assert "snapshot" not in alert.details, "Datadog had none"
    assert not [text for text in alert.model_dump_json().split('"') if text.startswith("$")]


def test_the_documentation_has_the_same_template() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
    template = TEMPLATE
    assert template.split() in [block.split() for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]


def test_a_form_says_the_same() -> None:
    flat = {**filled(), "org": json.dumps(filled()["org"])}
    for body in (urlencode(flat), urlencode({"payload": json.dumps(filled())})):
        (alert,), _ = read(body.encode(), FORM)
        assert alert.model_copy(update={"details": {}}) == one(filled()).model_copy(update={"details": {}})


@pytest.mark.parametrize(
    ("transition", "status", "since"),
    [("Triggered", "firing", True), ("Warn", "firing", True), ("No Data", "firing", True), ("no data", "firing", True),
     ("Re-Triggered", "firing", False), ("Re-Warn", "firing", False), ("Re-No Data", "firing", False),
     ("Renotify", "firing", False), ("Recovered", "resolved", False)],
)  # fmt: skip
def test_every_transition_fires_but_the_recovery(transition: str, status: str, since: bool) -> None:
    alert = one(filled(ALERT_TRANSITION=transition))
    assert (alert.status, alert.starts_at is not None) == (status, since)
    assert (alert.ends_at is not None) is (status == "resolved")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"ALERT_TRANSITION": "$ALERT_TRANSITION", "EVENT_TITLE": "[Recovered] Queue is deep"}, "resolved"),
        ({"ALERT_TRANSITION": "Null", "EVENT_TITLE": "x", "ALERT_TYPE": "success"}, "resolved"),
        ({"ALERT_TRANSITION": "", "EVENT_TITLE": "x", "ALERT_TYPE": "warning"}, "firing"),
    ],
)
def test_without_a_transition_the_title_says_it_or_the_type(changes: dict[str, str], status: str) -> None:
    assert one(filled(**changes)).status == status


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ALERT_TRANSITION": "Muted"}, 'alert_transition: "Muted", neither a trigger nor a recovery'),
        (
            {"ALERT_TRANSITION": "", "EVENT_TITLE": "[shop] deep", "ALERT_TYPE": "info"},
            "alert_transition: missing, and the title does not say it",
        ),
        ({"EVENT_TITLE": "[Triggered] "}, "event_title: says only how it is, not what"),
        ({"LAST_UPDATED": "yesterday"}, 'last_updated: "yesterday", not a time such as 2026-01-02T03:04:05Z'),
        ({"ALERT_CYCLE_KEY": "a\nb"}, r'alert_cycle_key: "a\nb", not a short text'),
    ],
)
def test_what_is_wrong_is_set_aside_with_its_place(changes: dict[str, str], reason: str) -> None:
    alerts, quarantined = read(filled(**changes))
    assert (alerts, [said for said, _ in quarantined]) == ([], [reason])


def test_a_template_that_nothing_was_filled_into_is_no_alert() -> None:
    for template in (TEMPLATE, DEFAULT):
        alerts, ((reason, _),) = read(template.encode())
        assert (alerts, reason.partition(": ")[2]) == ([], "missing")


def test_one_cycle_is_one_alert_else_one_monitor_and_scope_is() -> None:
    assert one(filled()).fingerprint == one(filled(ALERT_TRANSITION="Recovered", ALERT_TYPE="success")).fingerprint
    bare = {"ALERT_CYCLE_KEY": "$ALERT_CYCLE_KEY"}
    fired = one(filled(**bare)).fingerprint
    assert fired == one(filled(**bare, ALERT_TRANSITION="Recovered", EVENT_TITLE="Else", ID="5")).fingerprint
    assert fired != one(filled(**bare, ALERT_SCOPE="queue:mail")).fingerprint
    assert fired != one(filled(**bare, ALERT_ID="4712")).fingerprint


def test_the_default_template_is_read_by_its_title() -> None:
    fired = one(filled(DEFAULT))
    assert (fired.name, fired.status, fired.labels) == (
        "Queue is deep", AlertStatus.FIRING, {"queue": "orders", "host": "q-1"},
    )  # fmt: skip
    over = one(filled(DEFAULT, EVENT_TITLE="[Recovered on {queue:orders,host:q-1}] Queue is deep", ID="99002"))
    assert (over.status, over.fingerprint) == (AlertStatus.RESOLVED, fired.fingerprint)
    other = one(filled(DEFAULT, EVENT_TITLE="[Triggered on {queue:mail}] Queue is deep"))
    assert other.fingerprint != fired.fingerprint
    assert read(filled(DEFAULT, EVENT_TITLE="Queue is deep"))[0] == [], "a title that does not say how it is"


def test_what_is_unfilled_inside_was_not_sent_either() -> None:
    details = one(filled(ORG_ID="$ORG_ID", ORG_NAME="acme")).details
    assert details["org"] == {"name": "acme"}
    assert "org" not in one(filled(ORG_ID="$ORG_ID", ORG_NAME="$ORG_NAME")).details


def test_brackets_of_the_titles_own_stay() -> None:
    assert one(filled(EVENT_TITLE="[shop] deep")).name == "[shop] deep"


@pytest.mark.parametrize(
    ("priority", "tags", "kind", "severity"),
    [("P1", "", "warning", "P1"), ("P5", "", "error", "P4"), ("$ALERT_PRIORITY", "severity:critical", "warning", "P1"),
     ("", "", "warning", "P3"), ("", "", "error", "P2"), ("", "", "success", None)],
)  # fmt: skip
def test_severity(priority: str, tags: str, kind: str, severity: str | None) -> None:
    assert one(filled(ALERT_PRIORITY=priority, TAGS=tags, ALERT_TYPE=kind)).severity == severity


def test_other_templates_names_and_a_list_of_tags() -> None:
    body = {"title": "Disk", "alert_transition": "Triggered", "monitor_id": 5, "scopes": "host:a", "severity": "P3",
            "url": "https://x/e", "tags": ["service:shop", 7, "plain"], "last_updated": 1790504112345}  # fmt: skip
    alert = one(body)
    assert (alert.severity, alert.url, alert.service) == (Severity.P3, "https://x/e", "shop")
    assert alert.labels == {"service": "shop", "host": "a", "monitor_id": "5"}


@pytest.mark.parametrize(
    ("body", "headers", "rule"),
    [(b"", {}, "json"), (b"title=a", {}, "json"), (b"[]", {}, "type"), (b"", FORM, "form"),
     (b"&".join(b"a%d=b" % n for n in range(201)), FORM, "too_many"), (b"payload=%7B", FORM, "json")],
)  # fmt: skip
def test_a_body_that_is_wrong_as_a_whole_is_refused(body: bytes, headers: dict[str, str], rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body, headers)
    assert [problem.rule for problem in caught.value.problems] == [rule]


@given(st.dictionaries(st.sampled_from([*filled(), "severity", "url", "body"]), values, max_size=4))
def test_no_field_raises_anything_but_invalid_input(fields: dict[str, Any]) -> None:
    found = or_refused(lambda: read({**filled(), **fields}))
    assert found is None or len(found[0]) + len(found[1]) == 1


@given(damaged(filled()), damaged(urlencode({**filled(), "org": "12"}).encode()))
def test_no_damage_raises_anything_but_invalid_input(body: bytes, form: bytes) -> None:
    or_refused(lambda: read(body))
    or_refused(lambda: read(form, FORM))
    or_refused(lambda: read(body, FORM))


# Who may post.


@pytest.mark.parametrize(
    ("params", "headers", "good"),
    [
        ({"token": True}, {"Authorization": "Bearer s3cret-token"}, True),
        ({"token": True}, {"X-Quell-Token": "s3cret-token"}, False),
        ({"token": True, "header": "X-Quell-Token"}, {"x-quell-token": "s3cret-token"}, True),
        ({"token": True, "header": "X-Quell-Token"}, {"x-quell-token": "s3cret-tokem"}, False),
        ({"token": True, "header": "X-Quell-Token"}, {"Authorization": "Bearer s3cret-token"}, False),
        ({"token": True, "header": "X-Quell-Token"}, {}, False),
        ({"password": True, "username": "dd"}, {"Authorization": "Basic BASIC"}, True),
        ({"password": True, "username": "xx"}, {"Authorization": "Basic BASIC"}, False),
        ({"token": True, "header": "X-T", "password": True, "username": "dd"}, {"Authorization": "Basic BASIC"}, True),
        ({}, {}, True),
    ],
)
def test_the_sender_must_show_what_was_agreed(
    params: dict[str, Any], headers: dict[str, str], good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATADOG_HOOK", "s3cret-token")
    references = {name: "env:DATADOG_HOOK" if value is True else value for name, value in params.items()}
    basic = base64.b64encode(b"dd:s3cret-token").decode()
    shown = {name: value.replace("BASIC", basic) for name, value in headers.items()}
    said = verify(shown, b"{}", Params(**references))
    assert (said is None) is good
    assert said is None or "s3cret" not in said


def test_a_token_that_is_lost_lets_nobody_in() -> None:
    said = verify({"X-T": ""}, b"{}", Params(token="file:/nonexistent/token", header="X-T"))
    assert said is not None
    assert "cannot be read" in said


@pytest.mark.parametrize("params", [{"header": "X-T"}, {"header": "a b", "token": "env:A"}, {"headers": "X-T"}])
def test_what_cannot_be_meant_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Params(**params)


@pytest.mark.anyio
async def test_firing_and_resolved_make_and_end_one_incident(tmp_path: Path) -> None:
    over = filled(ALERT_TRANSITION="Recovered", ALERT_TYPE="success", EVENT_TITLE="[Recovered] Queue is deep")
    await makes_and_ends_one_incident(tmp_path, "datadog", filled(), over)

"""The example's API, body for body; and what it never had: bad input, a limit to waiting."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import ENDED, Incident
from quell.web.reference import execution_of
from tests.servers.process import wait_until
from tests.web.house import House

ROW = {"id", "runbook_id", "triggered_at", "severity", "diagnostic_results", "recommended_actions", "timeline"}
SLOW = """
id: slow
severity: P3
service: shop
triggers: [{{type: manual}}]
diagnostics:
- {{id: wait, type: shell_command, timeout: 20, config: {{command: [sh, -c, "while [ ! -e {folder}/go ]; do sleep 0.05; done"]}}, interpret: {{healthy: exit_code == 0}}}}
decision_tree: [{{condition: wait.critical, then: [call]}}]
remediations: [{{id: call, type: escalate, name: Call}}]
escalation: {{primary: "log:ops"}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("house")
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "slow.yaml").write_text(SLOW.format(folder=folder))
    (folder / "runbooks" / "broken.yaml").write_text("id: broken\nseverity: P9\n")
    with House(folder, more="server: {trigger_wait: 5s}") as house:
        yield house


@pytest.mark.parametrize(
    "body",
    [
        {"runbookId": "shop-ask", "alertName": "ShopAsk", "context": {"order": 7}},
        {"runbook_id": "shop-ask", "alert_name": "ShopAsk"},
        {"runbookId": "shop-ask", "context": None},
    ],
)
def test_a_runbook_is_triggered_and_its_diagnostics_are_answered(house: House, body: dict[str, Any]) -> None:
    answer = house.http.post("/incidents/trigger", json=body)
    assert answer.status_code == 200
    told = answer.json()
    assert told["message"] == "Runbook executed. 3 diagnostics run, 1 actions recommended."
    execution = told["execution"]
    assert set(execution) == {
        "runbookId", "triggeredAt", "diagnosticResults", "recommendedActions", "overallSeverity", "timeline",
        "incidentId",
    }  # fmt: skip
    assert (execution["runbookId"], execution["overallSeverity"]) == ("shop-ask", "critical")
    assert execution["recommendedActions"] == ["back"]
    results = {one["stepId"]: one for one in execution["diagnosticResults"]}
    assert set(results["errors"]) == {"stepId", "name", "status", "rawValue", "message", "durationMs"}
    assert {name: one["status"] for name, one in results.items()} == {
        "errors": "critical", "pool": "healthy", "release": "warning"
    }  # fmt: skip
    assert (results["errors"]["name"], results["errors"]["rawValue"]) == ("Error rate", "12.4")
    assert all(set(one) == {"timestamp", "event"} for one in execution["timeline"])
    assert house.incident(execution["incidentId"])["runbook"] == "shop-ask"


def test_curl_may_forget_the_content_type(house: House) -> None:
    answer = house.http.post("/incidents/trigger", content=b'{"runbookId": "shop-ask"}')
    assert answer.status_code == 200


def test_the_newest_incidents_in_the_examples_columns(house: House) -> None:
    made = house.http.post("/incidents/trigger", json={"runbookId": "shop-ask"}).json()["execution"]["incidentId"]
    rows = house.http.get("/incidents").json()["incidents"]
    open_ones = house.http.get("/incidents", params={"open": 1}).json()["incidents"]
    assert made in [row["id"] for row in open_ones]
    assert not {row["status"] for row in open_ones} & ENDED
    assert rows[0]["id"] == made
    assert set(rows[0]) == ROW | {"status", "service", "title"}
    assert rows[0]["recommended_actions"] == ["back"]
    assert [one["triggered_at"] for one in rows] == sorted((one["triggered_at"] for one in rows), reverse=True)


def test_a_browser_is_sent_to_the_page(house: House) -> None:
    answer = house.http.get("/incidents", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_an_unknown_runbook_is_404(house: House) -> None:
    answer = house.http.post("/incidents/trigger", json={"runbookId": "shop-asks"})
    assert answer.status_code == 404
    assert answer.json()["error"] == "Unknown runbook"
    assert answer.json()["nearest"] == "shop-ask"


def test_a_broken_runbook_says_why(house: House) -> None:
    answer = house.http.post("/incidents/trigger", json={"runbookId": "broken"})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (b"", 422, "runbookId"),
        (b"{}", 422, "runbookId"),
        (b'{"runbookId": 7}', 422, "runbookId"),
        (b'{"runbookId": ""}', 422, "runbookId"),
        (b'{"runbookId": "shop-ask", "contxt": {}}', 422, "contxt"),
        (b'{"runbookId": "shop-ask", "context": [1]}', 422, "context"),
        (b'["shop-ask"]', 422, None),
        (b'"shop-ask"', 422, None),
        (b"null", 422, None),
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b'{"runbookId": "shop-ask", "context": {"a": "\\u0000"}}', 400, None),
        (b'{"runbookId": "x", "context": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}", 400, "context.a.0.0"),
        (b"[" * 100_000, 400, None),
    ],
)
def test_bad_bodies_name_the_place(house: House, body: bytes, status: int, path: str | None) -> None:
    answer = house.http.post("/incidents/trigger", content=body)
    assert answer.status_code == status, answer.text
    problem = answer.json()["problems"][0]
    assert problem["message"]
    if path is not None:
        assert problem["path"].startswith(path)


def test_all_problems_are_told_at_once(house: House) -> None:
    answer = house.http.post("/incidents/trigger", json={"context": 1, "alertname": "x"})
    assert {one["path"] for one in answer.json()["problems"]} == {"runbookId", "context", "alertname"}
    unknown = next(one for one in answer.json()["problems"] if one["path"] == "alertname")
    assert unknown["nearest"] == "alertName"


def test_diagnostics_that_take_longer_are_202_with_the_place_to_look(house: House) -> None:
    answer = house.http.post("/incidents/trigger", json={"runbookId": "slow"})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/incidents/{answer.json()['incidentId']}"
    assert house.http.get(answer.headers["location"]).json()["status"] == "diagnosing"
    rows = {row["id"]: row for row in house.http.get("/incidents").json()["incidents"]}
    assert rows[answer.json()["incidentId"]]["severity"] is None
    house.set(go="")
    wait_until(lambda: bool(house.http.get(answer.headers["location"]).json()["outcome"]), "the end")
    rows = {row["id"]: row for row in house.http.get("/incidents").json()["incidents"]}
    assert rows[answer.json()["incidentId"]]["severity"] == "healthy"


def told_of(kind: EventKind, **payload: Any) -> Event:
    return Event(
        tenant="t", stream=Stream.INCIDENT, stream_id="i", seq=1, at=datetime(2026, 5, 1, tzinfo=UTC), kind=kind,
        actor="quell", payload=payload,
    )  # fmt: skip


STARTED = told_of(EventKind.RUN_STARTED, number=1, plan="p", reason="r")
DECIDED = told_of(EventKind.DECIDED, recommended=[], chosen=[])


@pytest.mark.parametrize(
    ("statuses", "events", "severity"),
    [
        ((), [], None),
        ((), [STARTED, DECIDED], None),
        (("healthy",), [STARTED], None),
        (("warning",), [STARTED], None),
        (("critical", "healthy"), [STARTED], "critical"),
        (("healthy",), [STARTED, DECIDED], "healthy"),
        (("healthy", "no_data"), [STARTED, DECIDED], "warning"),
        (("healthy",), [STARTED, DECIDED, STARTED], None),
    ],
)
def test_a_severity_that_is_not_known_is_not_healthy(
    statuses: tuple[str, ...], events: list[Event], severity: str | None
) -> None:
    findings = {
        str(n): {
            "check": str(n),
            "name": "",
            "status": status,
            "type": "",
            "facts": {},
            "message": "",
            "duration_ms": 1,
        }
        for n, status in enumerate(statuses)
    }
    known = Incident(id="i", tenant="t", findings=findings)
    assert execution_of(known, events)["overallSeverity"] == severity

"""The API: each route once as meant, and as nobody meant it."""

from collections.abc import Iterator
from typing import Any

import pytest

from quell.runbook.plan import Plan
from tests.web.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    (house.folder / "runbooks" / "broken.yaml").write_text("id: broken\nseverity: P9\n")
    house.runbook("lost")
    lost = house.folder / "runbooks" / "lost.yaml"
    lost.write_text(lost.read_text().replace("then: [back]", "then: [bakc]"))
    for number in range(6):
        house.runbook(f"ask-{number}", alert=f"Ask{number}", approval="approval: {expires: 10m}")
    with house:
        yield house


@pytest.fixture(scope="module")
def waiting(house: House) -> str:
    name = house.alert("Ask0")
    house.until(name, "waiting_approval")
    return name


def test_the_description_names_every_route(house: House) -> None:
    paths = house.http.get("/api/v1/openapi.json").json()["paths"]
    assert {"/incidents/trigger", "/api/v1/incidents/{incident}/take", "/api/v1/approvals/{approval}/approve"} <= set(
        paths
    )
    body = paths["/incidents/trigger"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"runbookId", "alertName", "context", "service"}


def test_the_state_of_an_incident(house: House, waiting: str) -> None:
    told = house.incident(waiting)
    assert (told["status"], told["severity"], told["service"]) == ("waiting_approval", "P1", "shop")
    assert house.incident(waiting[:-1])["id"] == waiting


def test_the_list_by_status_and_limit(house: House, waiting: str) -> None:
    found = house.http.get("/api/v1/incidents", params={"status": "waiting_approval", "limit": 1}).json()["incidents"]
    assert [one["id"] for one in found] == [waiting]


def test_the_list_goes_on_behind_its_last(house: House, waiting: str) -> None:
    seen, before = list[str](), ""
    while True:
        told = house.http.get("/api/v1/incidents", params={"limit": 1, "before": before}).json()
        seen += [one["id"] for one in told["incidents"]]
        if told["next"] is None:
            break
        before = told["next"]
    everything = house.http.get("/api/v1/incidents", params={"limit": 500}).json()
    assert everything["next"] is None
    assert waiting in seen
    assert seen == [one["id"] for one in everything["incidents"]]
    opened = everything["incidents"][0]["opened_at"]
    later = house.http.get("/api/v1/incidents", params={"before": opened}).json()["incidents"]
    assert [one["id"] for one in later] == seen[1:]


@pytest.mark.parametrize("query", ["limit=0", "before=yesterday", "limit=501", "limit=x", "status=nothing", "limit="])
def test_bad_queries_are_422(house: House, query: str) -> None:
    answer = house.http.get(f"/api/v1/incidents?{query}")
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"].startswith("query.")


def test_the_timeline_goes_on_where_asked(house: House, waiting: str) -> None:
    whole = house.http.get(f"/api/v1/incidents/{waiting}/timeline").json()["events"]
    rest = house.http.get(f"/api/v1/incidents/{waiting}/timeline?after=3").json()["events"]
    assert [event["seq"] for event in whole] == list(range(1, len(whole) + 1))
    assert rest == whole[3:]


def test_the_plan_as_json_and_drawn(house: House, waiting: str) -> None:
    plan = Plan.model_validate(house.http.get(f"/api/v1/incidents/{waiting}/plan").json())
    assert plan.hash == house.incident(waiting)["plan"]
    drawn = house.http.get(f"/api/v1/incidents/{waiting}/plan.svg")
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert 'data-node="back" data-state="waiting"' in drawn.text
    assert 'data-node="errors" data-state="critical"' in drawn.text


def test_an_incident_without_a_runbook_has_no_plan(house: House) -> None:
    name = house.alert("Nothing")
    assert house.http.get(f"/api/v1/incidents/{name}/plan").status_code == 404
    assert house.http.get(f"/api/v1/incidents/{name}/plan.svg").status_code == 404


@pytest.mark.parametrize("name", ["none", "%00", "a" * 101, "..", "%2e%2e", "'; drop table incidents"])
def test_unknown_incidents_are_4xx(house: House, name: str) -> None:
    for path in (f"/api/v1/incidents/{name}", f"/api/v1/incidents/{name}/timeline", f"/api/v1/incidents/{name}/plan"):
        answer = house.http.get(path)
        assert 400 <= answer.status_code < 500, path
        assert "error" in answer.json()


def test_approving_says_what_came_of_it_and_the_second_is_409(house: House) -> None:
    house.set(errors="12.4")
    name = house.alert("Ask1")
    asked = next(iter(house.until(name, "waiting_approval")["approvals"].values()))
    first = house.http.post(f"/api/v1/approvals/{asked['approval']}/approve", json={"by": "Ines", "reason": "yes"})
    assert first.json() == {"approval": asked["approval"], "incident": name, "answer": "approved", "by": "Ines"}
    second = house.http.post(f"/api/v1/approvals/{asked['approval']}/deny", headers={"x-quell-user": "Omar"})
    assert second.status_code == 409
    assert second.json()["winner"] == "Ines"
    assert house.until(name, "resolved")["verdict"] == "recovered"
    house.set(errors="12.4")


def test_the_header_says_who_before_the_body_does(house: House) -> None:
    name = house.alert("Ask2")
    house.until(name, "waiting_approval")
    told = house.http.post(
        f"/api/v1/approvals/{name}/deny", json={"by": "body"}, headers={"x-quell-user": "Omar"}
    ).json()
    assert told["by"] == "Omar"
    house.until(name, "escalated")


def test_a_person_takes_gives_back_acknowledges_and_resolves(house: House) -> None:
    name = house.alert("Ask3")
    house.until(name, "waiting_approval")
    path = f"/api/v1/incidents/{name}"
    assert house.http.post(f"{path}/take", json={"by": "Ines"}).json()["assignee"] == "Ines"
    other = house.http.post(f"{path}/take", json={"by": "Omar"})
    assert (other.status_code, other.json()["winner"]) == (409, "Ines")
    assert house.http.post(f"{path}/return", json={"by": "Ines"}).json()["assignee"] is None
    assert house.http.post(f"{path}/ack", headers={"x-quell-user": "Omar"}).json()["acknowledged_by"] == "Omar"
    assert (
        house.http.post(f"{path}/resolve", json={"by": "Ines", "reason": "it was the cable"}).json()["status"]
        == "resolved"
    )
    late = house.http.post(f"{path}/take", json={"by": "Ines"})
    assert late.status_code == 409
    assert "already resolved" in late.json()["error"]


@pytest.mark.parametrize("body", [{}, {"by": ""}, {"by": " \t\u200b"}, {"by": None, "reason": "yes"}])
def test_nobody_in_particular_is_422(house: House, waiting: str, body: dict[str, Any]) -> None:
    paths = [f"/api/v1/incidents/{waiting}/{deed}" for deed in ("take", "return", "ack", "resolve")]
    paths += [f"/api/v1/approvals/{waiting}/{word}" for word in ("approve", "deny")]
    for path in paths:
        answer = house.http.post(path, json=body, headers={b"x-quell-user": b"\xad"})  # a soft hyphen
        assert (answer.status_code, answer.json()["problems"][0]["rule"]) == (422, "no-name"), path
        assert answer.json()["error"] == "say who you are: the log keeps who did it"
    assert house.incident(waiting)["status"] == "waiting_approval"


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b'{"by": 1}', 422), (b'{"who": "x"}', 422), (b'{"by": "' + b"x" * 101, 400)]
)
def test_bad_words_change_nothing(house: House, waiting: str, body: bytes, status: int) -> None:
    for deed in ("take", "return", "ack", "resolve"):
        assert house.http.post(f"/api/v1/incidents/{waiting}/{deed}", content=body).status_code == status
    assert house.http.post(f"/api/v1/approvals/{waiting}/approve", content=body).status_code == status
    assert house.incident(waiting)["status"] == "waiting_approval"


def test_unknown_approvals_are_404(house: House) -> None:
    assert house.http.post("/api/v1/approvals/none/approve", json={"by": "Ines"}).status_code == 404


def test_runbooks_with_the_broken_ones(house: House) -> None:
    told = house.http.get("/api/v1/runbooks").json()
    runs = {one["id"]: one for one in told["runbooks"]}
    assert (runs["shop-errors"]["state"], runs["shop-errors"]["problems"]) == ("ok", [])
    assert runs["lost"]["state"] == "problems"
    problem = next(one for one in runs["lost"]["problems"] if one["severity"] == "error")
    assert (problem["rule"], problem["found"], problem["nearest"]) == ("undefined-remediation", "bakc", "back")
    broken = told["broken"][0]
    assert broken["state"] == "broken"
    assert broken["file"].endswith("broken.yaml")
    assert all(problem["message"] and problem["line"] for problem in broken["problems"])


def test_one_runbook(house: House) -> None:
    assert Plan.model_validate(house.http.get("/api/v1/runbooks/shop-errors").json()).name == "Shop answers with errors"
    assert house.http.get("/api/v1/runbooks/shop-errors/plan.svg").text.startswith("<svg")
    missing = house.http.get("/api/v1/runbooks/shop-error")
    assert (missing.status_code, missing.json()["nearest"]) == (404, "shop-errors")


def test_reloading_finds_what_is_new(house: House) -> None:
    house.runbook("brand-new")
    assert house.http.get("/api/v1/runbooks/brand-new").status_code == 404
    assert "brand-new" in [one["id"] for one in house.http.post("/api/v1/reload").json()["runbooks"]]
    assert house.http.get("/api/v1/runbooks/brand-new").status_code == 200


def test_alerts_and_what_was_set_aside(house: House, waiting: str) -> None:
    told = house.http.get("/api/v1/alerts").json()["alerts"]
    assert waiting in [one["incident"] for one in told]
    assert house.http.get("/api/v1/quarantine").json() == {"quarantined": []}


def test_health_and_version(house: House) -> None:
    assert house.http.get("/healthz").json() == {"status": "ok"}
    assert house.http.get("/readyz").json()["broken"] == 1
    assert house.http.get("/api/v1/version").json()["version"]


def test_wrong_methods_and_paths(house: House) -> None:
    assert house.http.delete("/api/v1/incidents").status_code == 405
    assert house.http.get("/api/v1/nothing").status_code == 404
    assert "error" in house.http.get("/api/v1/nothing").json()

"""Who may keep alerts quiet, merge and split: responders, each tenant its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quell.incident.access import Role
from tests.web.formed import HTML
from tests.web.house import alerts
from tests.web.secured import Secured

SILENCE = {"matchers": ["alertname=Disk"], "for": "1h", "reason": "disks"}
MORE = """
sources: {alertmanager: {type: alertmanager}, acme: {type: alertmanager, tenant: acme}}
correlation: {by: [team]}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with Secured(tmp_path_factory.mktemp("house"), more=MORE, insecure=False) as house:
        yield house


def fire(house: Secured, source: str, name: str, team: str) -> list[str]:
    answer = house.http.post(f"/webhooks/{source}", json=alerts({"alertname": name, "team": team}))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["incidents"])


def test_a_viewer_looks_and_changes_nothing(house: Secured) -> None:
    (incident,) = fire(house, "alertmanager", "Fan", "a")
    with house.as_(house.token("viewer", Role.VIEWER)) as viewer:
        for path in ("/api/v1/silences", "/api/v1/maintenance", "/silences", f"/incidents/{incident}/alerts"):
            page = viewer.get(path, headers=HTML)
            assert page.status_code == 200, path
            assert 'name="do"' not in page.text, path
        posts = (
            "/api/v1/silences", "/api/v1/silences/x/end", f"/api/v1/incidents/{incident}/merge",
            f"/api/v1/incidents/{incident}/split", "/silences", f"/incidents/{incident}/alerts",
        )  # fmt: skip
        for path in posts:
            assert viewer.post(path, json=SILENCE).status_code == 403, path
    with house.as_(house.token("responder", Role.RESPONDER)) as responder:
        made = responder.post("/api/v1/silences", json={**SILENCE, "by": "somebody else"})
        assert (made.status_code, made.json()["by"]) == (201, "responder")
        ended = responder.post(f"/api/v1/silences/{made.json()['id']}/end", json={})
        assert ended.status_code == 200


def test_a_silence_holds_its_tenants_alerts_alone(house: Secured) -> None:
    ours = house.http.post("/api/v1/silences", json={**SILENCE, "by": "root"}).json()["id"]
    with house.as_(house.token("acme", Role.RESPONDER, tenant="acme")) as acme:
        assert acme.get("/api/v1/silences").json()["silences"] == []
        for answer in (acme.get(f"/api/v1/silences/{ours}"), acme.post(f"/api/v1/silences/{ours}/end", json={})):
            assert answer.status_code == 404
        assert len(fire(house, "acme", "Disk", "b")) == 1
        assert fire(house, "alertmanager", "Disk", "b") == []
        theirs = acme.post("/api/v1/silences", json={**SILENCE, "matchers": ["alertname=Pump"]}).json()["id"]
        assert fire(house, "acme", "Pump", "b") == []
        assert acme.get(f"/api/v1/silences/{theirs}").json()["holds"] == 1
        assert acme.get("/silences", headers=HTML).text.count("holds 1 alert now") == 1
        assert acme.post("/api/v1/silences", json={"alert": "Fan", "for": "1h", "reason": "r"}).status_code == 404


def test_nothing_is_merged_into_another_tenants_incident_or_split_from_it(house: Secured) -> None:
    (ours,), (theirs,) = fire(house, "alertmanager", "Gear", "c"), fire(house, "acme", "Gear", "c")
    with house.as_(house.token("acme two", Role.RESPONDER, tenant="acme")) as acme:
        for answer in (
            acme.post(f"/api/v1/incidents/{theirs}/merge", json={"into": ours}),
            acme.post(f"/api/v1/incidents/{ours}/merge", json={"into": theirs}),
            acme.post(f"/api/v1/incidents/{ours}/split", json={"alerts": ["Gear"]}),
            acme.get(f"/incidents/{ours}/alerts", headers=HTML),
        ):
            assert answer.status_code == 404, answer.text
        page = acme.get(f"/incidents/{theirs}/alerts", headers=HTML).text
        assert ours not in page
    both = house.http.post(f"/api/v1/incidents/{ours}/merge", json={"into": theirs, "by": "root"})
    assert both.status_code == 404
    assert [house.incident(one)["merged_into"] for one in (ours, theirs)] == [None, None]

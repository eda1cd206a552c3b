"""Alertmanager's API over a real socket: route by route, who may, whatever is posted, amtool, a real Prometheus."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quell.alerting import Firing
from quell.incident.access import Role
from quell.incident.alert import Alert, AlertStatus
from quell.web.alertmanager import state_of
from tests.plugins.sources.bodies import damaged, sent, values
from tests.servers.amtool import Amtool
from tests.servers.process import RunServer, wait_until
from tests.servers.prometheus import Prometheus
from tests.web.house import House

ALERTS, GROUPS, PREFIX = "/api/v2/alerts", "/api/v2/alerts/groups", "/alertmanager"
SITE = """
engine: {poll: 0.1s}
server: {token: env:SHARED}
inhibit_rules:
- {name: cluster, source_matchers: ['alertname="ClusterDown"'], target_matchers: ['layer="node"'], equal: [cluster]}
sources:
  prometheus: {type: alertmanager_api, token: env:PROMETHEUS_TOKEN, service_labels: [app, service]}
  search: {type: alertmanager_api, username: search, password: env:SEARCH_PASSWORD}
"""
TOKEN, PASSWORD, SHARED = "the-token-of-prometheus", "the-password-of-search", "the-token-of-this-house"
RULES = """
groups:
- name: shop
  rules:
  - {alert: RealShop, expr: vector(1) > 0, labels: {service: shop, severity: warning}, annotations: {summary: it hurts}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One with a token in its configuration, so that nobody is let in for being on this machine; ``http`` has it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PROMETHEUS_TOKEN": TOKEN, "SEARCH_PASSWORD": PASSWORD, "SHARED": SHARED}.items():
            patch.setenv(name, value)
        with House(tmp_path_factory.mktemp("house"), more=SITE) as house:
            house.http.headers["authorization"] = f"Bearer {SHARED}"
            yield house


@pytest.fixture
def amtool(house: House, tmp_path: Path) -> Amtool:
    return Amtool(house.url, tmp_path, SHARED)


def alert(name: str, **more: Any) -> dict[str, Any]:
    labels = {"alertname": name, "service": "shop", "severity": "warning", **more.pop("labels", {})}
    return {"labels": labels, "annotations": {"summary": f"{name} hurts"}, **more}


def minutes(number: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=number)).isoformat()


def post(house: House, *alerts: Any, path: str = ALERTS) -> httpx.Response:
    return house.http.post(path, json=list(alerts))


def named(house: House, name: str, **query: Any) -> list[dict[str, Any]]:
    answer = house.http.get(ALERTS, params={"filter": f'alertname="{name}"', **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def stored(house: House, name: str) -> list[dict[str, Any]]:
    return [one for one in house.http.get("/api/v1/alerts?limit=500").json()["alerts"] if one["name"] == name]


def silence(house: House, name: str, **more: Any) -> str:
    body = {
        "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}], "startsAt": minutes(0),
        "endsAt": minutes(60), "createdBy": "ines", "comment": "the disks are being changed", **more,
    }  # fmt: skip
    answer = house.http.post("/api/v2/silences", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["silenceID"])


# Alerts.


def test_what_is_posted_opens_an_incident_and_is_listed_as_it_was_posted(house: House) -> None:
    until, began = minutes(5), minutes(-5)
    given = alert("Posted", startsAt=began, endsAt=until, generatorURL="http://prometheus:9090/graph?g0.expr=up")
    answer = post(house, given)
    assert (answer.status_code, answer.content) == (200, b"")
    (row,) = stored(house, "Posted")
    assert (row["source"], row["service"], row["severity"], row["status"]) == (
        "alertmanager_api", "shop", "P3", "firing",
    )  # fmt: skip
    assert house.incident(row["incident"])["title"]
    (one,) = named(house, "Posted")
    assert one["labels"] == given["labels"]
    assert one["annotations"] == given["annotations"]
    assert one["generatorURL"] == given["generatorURL"]
    assert one["fingerprint"] == row["fingerprint"]
    assert one["receivers"] == [{"name": "quell"}]
    assert one["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []}
    for name, wanted in (("startsAt", began), ("endsAt", until)):
        assert one[name].endswith("Z")
        apart = datetime.fromisoformat(one[name]) - datetime.fromisoformat(wanted)
        assert abs(apart) < timedelta(milliseconds=1)


def test_an_end_in_the_past_resolves_and_the_incident_is_over(house: House) -> None:
    post(house, alert("Ended", endsAt=minutes(5), labels={"service": "unknown"}))
    (row,) = stored(house, "Ended")
    assert post(house, alert("Ended", endsAt=minutes(-0.01), labels={"service": "unknown"})).status_code == 200
    assert stored(house, "Ended")[0]["status"] == "resolved"
    assert named(house, "Ended") == []
    house.until(row["incident"], "resolved")


def test_what_nobody_says_again_ends_at_its_end(house: House) -> None:
    post(house, alert("Fades", endsAt=minutes(1 / 60)))
    wait_until(lambda: stored(house, "Fades")[0]["status"] == "resolved", "the end that was announced")
    assert named(house, "Fades") == []


def test_an_alert_that_is_wrong_is_told_and_its_siblings_are_in(house: House) -> None:
    answer = post(house, alert("Sibling"), {"labels": {"service": "shop"}}, {"labels": 4}, 5)
    assert answer.status_code == 400
    assert answer.json() == (
        "alerts[1].labels.alertname: missing; alerts[2].labels: number, not an object; alerts[3]: number, not an object"
    )
    assert len(named(house, "Sibling")) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"{}", "the body is not a list of alerts, found object, expected list"),
        (b"null", "the body is not a list of alerts, found null"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[" + b"{}," * 2000 + b"{}]", "alerts: too many alerts in one body, found 2001"),
    ],
)
def test_a_body_that_is_wrong_as_a_whole_is_400_with_a_text(house: House, content: bytes, why: str) -> None:
    answer = house.http.post(ALERTS, content=content)
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)
    assert why in answer.json()


def test_an_alert_needs_no_annotations_anywhere(house: House) -> None:
    assert post(house, {"labels": {"alertname": "Bare"}}).status_code == 200
    assert named(house, "Bare")[0]["annotations"] == {}
    page = house.http.get("/alerts", headers={"accept": "text/html"})
    assert (page.status_code, "<b>Bare</b>" in page.text) == (200, True)


def test_no_alerts_are_no_fault(house: House) -> None:
    assert post(house).status_code == 200


def test_many_at_once_wait_in_the_inbox_and_are_shown_meanwhile(house: House) -> None:
    sender = f"Storm{uuid.uuid4().hex}"
    assert post(house, *(alert(sender, labels={"n": str(n)}) for n in range(64))).status_code == 200
    assert len(named(house, sender)) == 64
    wait_until(
        lambda: all(one["status"]["state"] == "active" for one in named(house, sender)), "every one looked at"
    )  # fmt: skip


def test_what_is_held_is_suppressed_and_says_by_what(house: House) -> None:
    made = silence(house, "Hushed")
    post(house, alert("Hushed"), alert("Beside"))
    post(house, alert("ClusterDown", labels={"cluster": "a"}))
    post(house, alert("NodeDown", labels={"cluster": "a", "layer": "node"}))
    (hushed,), (node,) = named(house, "Hushed"), named(house, "NodeDown")
    assert hushed["status"] == {"state": "suppressed", "silencedBy": [made], "inhibitedBy": [], "mutedBy": []}
    assert (node["status"]["state"], node["status"]["silencedBy"]) == ("suppressed", [])
    (by,) = node["status"]["inhibitedBy"]
    assert by.startswith("inhibit rule ")
    assert "cluster" in by
    for name, hidden in (("Hushed", "silenced"), ("NodeDown", "inhibited"), ("Beside", "active")):
        for other in ("silenced", "inhibited", "active", "unprocessed"):
            assert bool(named(house, name, **{other: "false"})) is (other != hidden), (name, other)


@pytest.mark.parametrize(
    ("held", "unseen", "state", "silenced", "inhibited", "muted"),
    [
        ("", False, "active", [], [], []),
        ("", True, "unprocessed", [], [], []),
        ("flapping", False, "active", [], [], []),
        ("silence abc", False, "suppressed", ["abc"], [], []),
        ("inhibit rule cluster", False, "suppressed", [], ["inhibit rule cluster"], []),
        ("maintenance sunday", False, "suppressed", [], [], ["maintenance sunday"]),
    ],
)
def test_its_state_says_what_holds_it(
    held: str, unseen: bool, state: str, silenced: list[str], inhibited: list[str], muted: list[str]
) -> None:
    known = Alert(source="x", name="A", status=AlertStatus.FIRING, fingerprint="1", received_at=datetime.now(UTC))
    one = Firing(known, {}, held, None, known.received_at, known.received_at, unseen)
    assert state_of(one) == {"state": state, "silencedBy": silenced, "inhibitedBy": inhibited, "mutedBy": muted}


@pytest.mark.parametrize(
    ("matchers", "fits"),
    [
        ([], True),
        (['alertname="Picked"'], True),
        (["alertname=Picked", "service=shop"], True),
        (['{alertname="Picked", shelf="7"}'], True),
        (['alertname=~"Pick.*"', 'shelf!="8"'], True),
        (['shelf!~"7|8"'], False),
        (['alertname=~"ick"'], False),
        (['nowhere=""'], True),
        (['environment!=""', 'alertname="Picked"', 'region="x"'], False),
        (['source="alertmanager_api"', 'alertname="Picked"'], True),
    ],
)
def test_filters_are_matchers(house: House, matchers: list[str], fits: bool) -> None:
    post(house, alert("Picked", labels={"shelf": "7"}))
    answer = house.http.get(ALERTS, params={"filter": matchers})
    assert answer.status_code == 200
    assert ("Picked" in {one["labels"]["alertname"] for one in answer.json()}) is fits
    assert [one["fingerprint"] for one in answer.json()] == sorted(one["fingerprint"] for one in answer.json())


@pytest.mark.parametrize("path", [ALERTS, GROUPS])
@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"filter": ["a", 'b="']}, "bad matcher format"),
        ({"filter": ['a=~"("']}, "filter"),
        ({"receiver": "("}, "receiver"),
        ({"active": "maybe"}, "active: not a boolean, found maybe, expected true or false"),
    ],
)
def test_a_query_that_is_wrong_is_400(house: House, path: str, query: dict[str, Any], why: str) -> None:
    answer = house.http.get(path, params=query)
    assert (answer.status_code, type(answer.json())) == (400, str)
    assert why in answer.json()


def test_a_receiver_is_a_pattern_for_the_whole_name(house: House) -> None:
    post(house, alert("Received"))
    assert [bool(named(house, "Received", receiver=one)) for one in ("quell", "q.*", "quel", "ops")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_alerts_of_other_sources_are_there_too(house: House) -> None:
    house.alert("OfAWebhook")
    (one,) = named(house, "OfAWebhook")
    assert one["endsAt"] == "0001-01-01T00:00:00.000Z"


def test_groups_are_incidents(house: House) -> None:
    silence(house, "GroupHushed")
    post(house, alert("ShopErrors", labels={"n": "1"}), alert("ShopErrors", labels={"n": "2"}), alert("GroupHushed"))
    query = {"filter": 'alertname=~"ShopErrors|GroupHushed"'}
    free, group = house.http.get(GROUPS, params=query).json()
    assert (free["labels"], [one["labels"]["alertname"] for one in free["alerts"]]) == ({}, ["GroupHushed"])
    assert group["labels"] == {"incident": stored(house, "ShopErrors")[0]["incident"]}
    assert {one["labels"]["n"] for one in group["alerts"]} == {"1", "2"}
    assert group["receiver"] == {"name": "quell"}
    assert house.http.get(GROUPS, params={**query, "active": "false", "silenced": "false"}).json() == []


def test_status_and_receivers(house: House) -> None:
    status = house.http.get("/api/v2/status").json()
    assert status["cluster"] == {"status": "disabled", "peers": []}
    assert all(isinstance(value, str) for value in status["versionInfo"].values())
    assert datetime.fromisoformat(status["uptime"]) <= datetime.now(UTC)
    assert house.http.get("/api/v2/receivers").json() == [{"name": "quell"}]


@pytest.mark.parametrize("path", ["/status", "/receivers", "/alerts", "/alerts/groups", "/silences"])
def test_everything_is_under_alertmanager_too(house: House, path: str) -> None:
    made = [house.http.get(f"{prefix}/api/v2{path}") for prefix in ("", PREFIX)]
    assert [one.status_code for one in made] == [200, 200]
    assert made[0].json() == made[1].json()


def test_posts_are_under_alertmanager_too(house: House) -> None:
    assert post(house, alert("Prefixed"), path=PREFIX + ALERTS).status_code == 200
    assert len(named(house, "Prefixed")) == 1


# Who may.


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize(
    ("credentials", "status", "source"),
    [
        (f"Bearer {TOKEN}", 200, "prometheus"),
        ("search", 200, "search"),
        ("responder", 200, "alertmanager_api"),
        ("viewer", 403, None),
        (f"Bearer {TOKEN}x", 401, None),
        ("", 401, None),
    ],
)
def test_a_source_is_known_by_its_own_credentials(
    house: House, prefix: str, credentials: str, status: int, source: str | None
) -> None:
    name = f"By{uuid.uuid4().hex}"
    headers = {"authorization": credentials} if credentials.startswith("Bearer") else {}
    if credentials in ("responder", "viewer"):
        headers = {"authorization": f"Bearer {minted(house, Role(credentials))}"}
    auth = ("search", PASSWORD) if credentials == "search" else None
    with httpx.Client(base_url=house.url, headers=headers, auth=auth) as sender:
        answer = sender.post(prefix + ALERTS, json=[alert(name, labels={"app": "shop"})])
        assert answer.status_code == status, answer.text
        assert [one["source"] for one in stored(house, name)] == ([source] if source else [])
        if source in ("prometheus", "search"):
            # What lets a sender in to post lets nobody read or silence.
            assert sender.get(prefix + ALERTS).status_code == 401
            assert sender.post(f"{prefix}/api/v2/silences", json={}).status_code == 401


def minted(house: House, role: Role) -> str:
    answer = house.http.post("/api/v1/tokens", json={"name": uuid.uuid4().hex, "role": role.value, "by": "root"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["text"])


def test_a_viewer_reads_and_a_responder_silences(house: House) -> None:
    name = f"Seen{uuid.uuid4().hex}"
    body = {
        "matchers": [{"name": "alertname", "value": name, "isRegex": False}], "startsAt": minutes(0),
        "endsAt": minutes(9), "createdBy": "somebody else", "comment": "why not",
    }  # fmt: skip
    answers = {}
    for role in (Role.VIEWER, Role.RESPONDER):
        headers = {"authorization": f"Bearer {minted(house, role)}"}
        with httpx.Client(base_url=house.url, headers=headers) as client:
            assert client.get(ALERTS).status_code == 200
            made = client.post("/api/v2/silences", json=body)
            ended = client.delete(f"/api/v2/silence/{made.json().get('silenceID', uuid.uuid4())}")
            answers[role] = (made.status_code, ended.status_code)
    assert answers == {Role.VIEWER: (403, 403), Role.RESPONDER: (200, 200)}


def test_a_page_of_another_site_posts_nothing(house: House) -> None:
    answer = house.http.post(ALERTS, json=[alert("Foreign")], headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert stored(house, "Foreign") == []


# Whatever is posted.

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
WHOLE = [alert("Fuzzed", startsAt="2026-03-04T05:01:02.123456789Z", endsAt="2099-01-01T00:00:00Z")]
ENTRIES = st.fixed_dictionaries(
    {"labels": st.fixed_dictionaries({"alertname": st.text(max_size=9)}, optional={"service": values}) | values},
    optional={"annotations": values, "startsAt": values, "endsAt": values, "generatorURL": values},
)
BODIES = damaged(WHOLE) | (values | st.lists(ENTRIES | values, max_size=4)).map(sent) | st.binary(max_size=40)


@FUZZ
@given(BODIES)
def test_no_body_is_a_5xx_and_none_is_taken_in_part(house: House, body: bytes) -> None:
    """200: all of it is in. 400: what is not in is in the quarantine, or, as a whole, nothing of it is anywhere."""
    mark = f"M{uuid.uuid4().hex}"
    there = counts(house)
    content = body
    with_mark = False
    try:
        read = json.loads(body)
        if isinstance(read, list):
            content, with_mark = sent([*read, alert(mark)]), True
    except ValueError:
        pass
    answer = house.http.post(ALERTS, content=content)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert isinstance(answer.json(), str)
    if not with_mark:
        assert answer.status_code == 400
        assert counts(house) == there
    elif named(house, mark):
        aside = counts(house)[1] - there[1]
        assert (aside > 0) is (answer.status_code == 400)
    else:
        assert answer.status_code == 400  # refused as a whole: too deep, a number that JSON does not have
        assert counts(house) == there


def counts(house: House) -> tuple[int, int]:
    lists = house.http.get("/api/v1/alerts?limit=500").json(), house.http.get("/api/v1/quarantine?limit=500").json()
    return len(lists[0]["alerts"]), len(lists[1]["quarantined"])


# amtool.


def test_amtool_adds_and_asks(house: House, amtool: Amtool) -> None:
    amtool(
        "alert", "add", "FromAmtool", "service=shop", "severity=critical", "node=a b", "--annotation=summary=by hand",
        "--generator-url=http://prometheus:9090/graph",
    )  # fmt: skip
    assert stored(house, "FromAmtool")[0]["severity"] == "P1"
    (one,) = amtool.json("alert", "query", 'alertname="FromAmtool"', "node=~a.*")
    assert one["labels"] == {"alertname": "FromAmtool", "service": "shop", "severity": "critical", "node": "a b"}
    assert one["annotations"] == {"summary": "by hand"}
    assert one["status"]["state"] == "active"
    assert "FromAmtool" in amtool("alert", "query", "FromAmtool")
    assert "FromAmtool" in amtool("alert", "query", "FromAmtool", "--output=extended")
    assert amtool.json("alert", "query", "FromAmtool", "node=b") == []
    amtool("alert", "add", "FromAmtool", "service=shop", "severity=critical", "node=a b", f"--end={minutes(-1)}")
    assert amtool.json("alert", "query", "FromAmtool") == []


def test_amtool_shows_the_configuration_and_the_route(house: House, amtool: Amtool) -> None:
    assert "receiver: quell" in amtool("config", "show")
    assert amtool("config", "routes", "test", "severity=critical").strip() == "quell"
    assert "disabled" in amtool("cluster", "show")


def test_amtool_silences_and_lets_it_be_heard_again(house: House, amtool: Amtool) -> None:
    post(house, alert("AmtoolBefore"))
    made = amtool(
        "silence", "add", "alertname=AmtoolHushed", "node!~b|c", "--author=ines", "--comment=disks", "--duration=1h"
    ).strip()
    uuid.UUID(made)
    post(house, alert("AmtoolHushed"))
    assert amtool.json("alert", "query", "AmtoolHushed") == []
    (one,) = amtool.json("alert", "query", "AmtoolHushed", "--silenced")
    assert one["status"]["silencedBy"] == [made]
    (known,) = amtool.json("silence", "query", "alertname=AmtoolHushed")
    assert (known["id"], known["createdBy"], known["comment"]) == (made, "ines", "disks")
    assert known["status"]["state"] == "active"
    assert [(one["name"], one["isRegex"], one["isEqual"]) for one in known["matchers"]] == [
        ("alertname", False, True), ("node", True, False),
    ]  # fmt: skip
    assert made in amtool("silence", "query")
    assert made in amtool("silence", "update", made, "--comment=more disks", "--duration=2h")
    (changed,) = amtool.json("silence", "query", "alertname=AmtoolHushed")
    assert changed["comment"] == "more disks"
    assert datetime.fromisoformat(changed["endsAt"]) > datetime.fromisoformat(known["endsAt"])
    assert stored(house, "AmtoolHushed")[0]["incident"] is None
    amtool("silence", "expire", made)
    wait_until(lambda: stored(house, "AmtoolHushed")[0]["incident"] is not None, "what it had held")
    assert amtool.json("silence", "query", "alertname=AmtoolHushed") == []
    (ended,) = amtool.json("silence", "query", "alertname=AmtoolHushed", "--expired")
    assert ended["status"]["state"] == "expired"


def test_amtool_shows_a_token(house: House, tmp_path: Path) -> None:
    amtool = Amtool(house.url, tmp_path, minted(house, Role.RESPONDER))
    amtool("alert", "add", "WithToken", "service=shop")
    assert [one["labels"]["alertname"] for one in amtool.json("alert", "query", "WithToken")] == ["WithToken"]
    made = amtool("silence", "add", "alertname=WithToken", "--comment=why", "--author=ines").strip()
    assert amtool.json("silence", "query", "alertname=WithToken")[0]["id"] == made
    assert "401" in Amtool(house.url, tmp_path)("alert", "query", fails=True)


# A real Prometheus.


def test_a_real_prometheus_fires_once_and_resolves(house: House, run_server: RunServer) -> None:
    reached = {"path_prefix": PREFIX, "authorization": {"credentials": TOKEN}}
    flags = ["--rules.alert.resend-delay=1s"]  # of the first word, said before it has found us, nothing comes
    at = house.url.removeprefix("http://")
    prometheus = run_server(Prometheus(rules=RULES, alertmanager=at, reached=reached, flags=flags))
    wait_until(lambda: bool(stored(house, "RealShop")), "what Prometheus says", 60)
    wait_until(lambda: stored(house, "RealShop")[0]["count"] > 2, "the same again", 60)
    (row,) = stored(house, "RealShop")
    assert (row["source"], row["status"], row["severity"]) == ("prometheus", "firing", "P3")
    (one,) = named(house, "RealShop")
    assert one["labels"] == {"alertname": "RealShop", "service": "shop", "severity": "warning"}
    assert datetime.fromisoformat(one["endsAt"]) > datetime.now(UTC)
    (mine,) = [one for one in house.http.get("/api/v1/incidents").json()["incidents"] if row["id"] in one["firing"]]
    told = [one for one in metrics(prometheus) if one.startswith("prometheus_notifications_errors_total{")]
    assert [one.rpartition(" ")[2] for one in told] == ["0"]
    prometheus.reload(rules=RULES.replace("vector(1) > 0", "vector(1) > 1"))
    wait_until(lambda: stored(house, "RealShop")[0]["status"] == "resolved", "the end", 60)
    (row,) = stored(house, "RealShop")
    assert row["incident"] == mine["id"]
    assert named(house, "RealShop") == []


def metrics(prometheus: Prometheus) -> list[str]:
    return httpx.get(f"{prometheus.url}/metrics", timeout=10).text.splitlines()

"""Alarms through topics of a server of SNS that others wrote: refused, believed, ended.

Moto and `quell serve` are real processes, and moto delivers over a socket. What CloudWatch would publish is ours, since
moto's alarms publish nothing. What moto leaves out of a delivery, `tests/fakes/sns_edge.py` adds; whose signature it is
that Quell is to believe, moto's or the test's, each test says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from quell.incident.incident import Status
from tests.acceptance.quell import Quell
from tests.fakes.sns import PEM, TOPIC, Document, alarm, headers
from tests.fakes.sns_edge import SnsEdge
from tests.servers.moto import Moto
from tests.servers.process import wait_until

HOOK, GUARDED = "/webhooks/cloudwatch", "/webhooks/guarded"
SUBJECT = 'ALARM: "Orders API: 5xx" in EU (Ireland)'


@dataclass(frozen=True)
class Site:
    """Subscribed to `alarms` is Quell behind the edge; to `direct` and `guarded` nobody is."""

    moto: Moto
    edge: SnsEdge
    quell: Quell
    alarms: str
    direct: str
    guarded: str

    def publish(self, name: str, state: str = "ALARM", subject: str | None = None) -> httpx.Response:
        """As CloudWatch does; what Quell answered to the one delivery of it."""
        before = len(self.edge.answers)
        self.moto.publish(self.alarms, json.dumps(alarm(state, name)), subject)
        (answer,) = self.edge.answers[before:]
        return answer

    def alerts(self, name: str) -> list[dict[str, Any]]:
        return [one for one in self.quell.get("/api/v1/alerts")["alerts"] if one["name"] == name]

    def refused(self) -> int:
        """How many deliveries were."""
        sources = self.quell.get("/api/v1/sources")["sources"]
        return sum(one["refused"] for one in sources if one["name"] == "cloudwatch")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    secret = tmp_path_factory.mktemp("sns") / "password"
    secret.write_text("pa55word-of-sns")
    quell = Quell()
    with Moto() as moto, SnsEdge(moto.get, quell.url) as edge:
        alarms, direct, guarded = (moto.topic(name) for name in ("alarms", "direct", "guarded"))
        password = {"type": "cloudwatch", "username": "sns", "password": f"file:{secret}"}
        sources = {
            "cloudwatch": {"topics": [alarms, direct, TOPIC], "endpoint": edge.url},
            "guarded": {"topics": [guarded], "endpoint": edge.url, **password},
        }
        with quell.configured({"sources": sources}, {}):
            moto.subscribe(alarms, edge.url + HOOK)
            yield Site(moto, edge, quell, alarms, direct, guarded)


@pytest.fixture
def site(servers: Site) -> Site:
    """With an edge that adds what is missing, whatever the test before made of it."""
    servers.edge.heads, servers.edge.change = headers, servers.edge.led_here
    servers.edge.clear()
    return servers


def test_what_moto_sends_by_itself_is_refused(site: Site) -> None:
    before = site.refused()
    site.moto.subscribe(site.direct, site.quell.url + HOOK)
    site.moto.publish(site.direct, json.dumps(alarm(name="By itself")))
    assert site.refused() == before + 1
    assert site.alerts("By itself") == []


def nothing(message: Document) -> dict[str, str]:
    return {"content-type": "text/plain; charset=UTF-8"}


def as_it_was(message: Document) -> Document:
    return message


@pytest.mark.parametrize(
    ("heads", "why"),
    [(nothing, 'the header x-amz-sns-message-type says "", and the message "Notification"'),
     (headers, 'SigningCertURL: "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-')],
    ids=["no headers", "a certificate elsewhere"],
)  # fmt: skip
def test_whoever_delivers_is_told_why(heads: Any, why: str, site: Site) -> None:
    site.edge.heads, site.edge.change = heads, as_it_was
    answer = site.publish("Told why")
    assert (answer.status_code, answer.json()["rule"]) == (401, "signature")
    assert answer.json()["error"].startswith(why)
    assert site.edge.fetched == [], "nothing was asked for"
    assert site.alerts("Told why") == []


def test_an_alarm_that_moto_signed_opens_one_incident_and_its_end_ends_it(site: Site) -> None:
    before = site.quell.incidents()
    taken = site.publish("Orders API: 5xx")
    assert (taken.status_code, taken.json()["accepted"]) == (200, 1), taken.text
    (fetched,) = site.edge.fetched
    assert fetched != PEM, "the certificate is moto's"
    (incident,) = taken.json()["incidents"]
    (alert,) = site.alerts("Orders API: 5xx")
    assert (alert["status"], alert["region"], alert["incident"]) == ("firing", "eu-west-1", incident)
    assert alert["alert"]["details"]["topic"] == site.alarms
    why = site.quell.get(f"/api/v1/alerts/{alert['id']}/why")
    assert why["signature"] == "signature of Amazon SNS verified"

    # SNS has lost the answer, and sends the same again.
    message = site.edge.passed[-1]
    again = httpx.post(site.quell.url + HOOK, content=json.dumps(message), headers=headers(message), timeout=30)
    assert (again.status_code, again.json()) == (200, taken.json())
    (alert,) = site.alerts("Orders API: 5xx")
    assert alert["count"] == 1

    assert site.publish("Orders API: 5xx", "OK").json()["incidents"] == [incident]
    wait_until(lambda: site.quell.incident(incident).status == Status.RESOLVED, "the incident's end")
    assert len(site.quell.incidents()) == len(before) + 1
    assert site.quell.faults() == []


def test_what_was_changed_on_the_way_is_refused(site: Site) -> None:
    def forged(message: Document) -> Document:
        return {**site.edge.led_here(message), "Message": json.dumps(alarm("OK", "Forged"))}

    site.edge.change = forged
    answer = site.publish("Forged")
    assert (answer.status_code, answer.json()["error"]) == (401, "missing or wrong signature")
    assert site.alerts("Forged") == []


def test_a_subject_that_the_signature_leaves_out_is_refused(site: Site) -> None:
    answer = site.publish("With a subject", subject=SUBJECT)
    assert (answer.status_code, answer.json()["error"]) == (401, "missing or wrong signature")
    assert site.edge.passed[-1]["Subject"] == SUBJECT
    site.edge.change = site.edge.signed_here
    assert site.publish("With a subject", subject=SUBJECT).json()["accepted"] == 1
    assert [one["status"] for one in site.alerts("With a subject")] == ["firing"]


def test_a_subscription_is_confirmed_at_moto(site: Site) -> None:
    answer = site.edge.confirm(site.alarms, HOOK)
    assert answer.json()["noted"] == f"confirmed the subscription to {site.alarms}"
    asked = site.edge.requests[-1]
    assert (asked.method, asked.arg("Action"), asked.arg("TopicArn")) == ("GET", "ConfirmSubscription", site.alarms)
    # A topic that Quell would take and moto does not know: SNS may come again.
    unknown = site.edge.confirm(TOPIC, HOOK)
    assert (unknown.status_code, "HTTP 404" in unknown.json()["error"]) == (503, True), unknown.text


def test_the_password_of_a_subscription_comes_with_what_is_delivered(site: Site) -> None:
    host, before = site.edge.url.removeprefix("http://"), len(site.edge.answers)
    for password in ("wrong", "pa55word-of-sns"):
        site.moto.subscribe(site.guarded, f"http://sns:{password}@{host}{GUARDED}")
    site.moto.publish(site.guarded, json.dumps(alarm(name="Guarded")))
    assert [answer.status_code for answer in site.edge.answers[before:]] == [401, 200]
    assert [one["count"] for one in site.alerts("Guarded")] == [1]

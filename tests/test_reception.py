"""What a webhook is sent, by the app on both databases: once, in one piece, and by a key alone."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import hmac
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell import inflow
from quell.delivery import Receipt
from quell.errors import InvalidInput, Refused, Unavailable
from quell.incident.alert import Alert
from quell.incident.event import EventKind
from quell.ports import Params
from quell.reception import UNPROVEN, Reception, known_by
from quell.registry import Registry
from quell.settings import Settings
from quell.store import requests
from quell.store.schema import alerts, quarantine
from tests.app import House, alert, do, eventually, house, runbook
from tests.plugins.sources.test_opsgenie import BODY as OPSGENIE
from tests.plugins.sources.test_pagerduty import BODY as PAGERDUTY
from tests.plugins.sources.test_pagerduty_events import EVENT, KEY

pytestmark = pytest.mark.anyio

BOOK = runbook(
    "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
)
SOURCES = """
sources:
  payments: {type: pagerduty_events, routing_keys: ['env:KEY_ONE'], service: shop}
  search: {type: pagerduty_events, routing_keys: ['env:KEY_TWO', 'env:KEY_OLD']}
"""
OTHER = "S" * 32
BODY_OF_ALL = b'{"status": "firing", "title": "Slow"}'


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KEY_ONE", KEY), ("KEY_TWO", OTHER), ("KEY_OLD", "old-key-of-search")):
        monkeypatch.setenv(name, value)


async def post(at: House, source: str, document: Any, headers: Mapping[str, str] | None = None) -> Receipt:
    return await at.app.receive(source, headers or {}, json.dumps(document).encode())


def told(kind: str, name: str = "e1", incident: str = "PINC001", **more: Any) -> dict[str, Any]:
    event = {**copy.deepcopy(PAGERDUTY["event"]), "id": name, "event_type": f"incident.{kind}", **more}
    event["data"]["id"] = incident
    return {"event": event}


async def rows(at: House, table: sa.Table) -> list[dict[str, Any]]:
    return await at.app.database.read(lambda c: [dict(row) for row in c.execute(sa.select(table)).mappings()])


# The same delivery twice.


async def test_a_delivery_that_comes_again_has_no_second_effect_and_the_same_receipt(
    tmp_path: Path, database: str
) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        first = await post(at, "pagerduty", told("triggered"), {"x-webhook-id": "a"})
        await post(at, "pagerduty", told("resolved", "e2"))
        before = await rows(at, alerts), await rows(at, requests.requests)
        again = await post(at, "pagerduty", told("triggered"), {"x-webhook-id": "b"})
        assert (first.accepted, again) == (1, first)
        assert (await rows(at, alerts), await rows(at, requests.requests)) == before
        (row,) = await rows(at, alerts)
        assert (row["status"], row["count"]) == ("resolved", 1)
        reopened = await post(at, "pagerduty", told("reopened", "e3"))
        assert reopened.accepted == 1
        assert (await rows(at, alerts))[0]["status"] == "firing"


async def test_of_many_at_once_one_has_the_effect(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        receipts = await asyncio.gather(*[post(at, "pagerduty", told("triggered")) for _ in range(8)])
        assert len(set(receipts)) == 1
        assert len(await at.app.incidents()) == 1
        assert (await rows(at, alerts))[0]["count"] == 1


async def test_what_failed_left_no_name_behind(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one transaction with the alerts: a delivery that was not taken in is taken in when it comes again."""
    async with house(tmp_path, BOOK, database=database) as at:
        with monkeypatch.context() as broken:
            broken.setattr(requests, "led_to", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await post(at, "pagerduty", told("triggered"))
        assert await rows(at, alerts) == []
        assert await at.app.incidents() == []
        assert len((await post(at, "pagerduty", told("triggered"))).incidents) == 1


async def test_after_two_days_it_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, BOOK) as at:
        await post(at, "pagerduty", told("triggered"))
        await post(at, "pagerduty", told("resolved", "e2"))
        monkeypatch.setattr(requests, "DELIVERY_KEPT_US", 0)
        await post(at, "pagerduty", told("triggered"))
        assert (await rows(at, alerts))[0]["count"] == 2


async def test_a_name_hides_neither_another_source_nor_another_incident(tmp_path: Path) -> None:
    more = "sources: {eu: {type: pagerduty, tenant: eu}, us: {type: pagerduty, tenant: us}}\n"
    async with house(tmp_path, BOOK, more=more) as at:
        for source in ("eu", "us"):
            await post(at, source, told("triggered"))
        await post(at, "eu", told("triggered", incident="PINC002"))
        assert len(await rows(at, alerts)) == 3


async def test_what_is_ignored_leaves_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        for kind in ("annotated", "priority_updated"):
            assert await post(at, "pagerduty", told(kind)) == Receipt(0, (), ignored=f"incident.{kind}")
        ping = {"event": {"id": "p", "event_type": "pagey.ping", "data": {"message": "Hello from your friend Pagey!"}}}
        assert (await post(at, "pagerduty", ping)).ignored == "pagey.ping"
        assert (await rows(at, alerts), await rows(at, quarantine), at.told) == ([], [], [])


async def test_whoever_acknowledged_it_there_has_it_here(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        (incident,) = (await post(at, "pagerduty", told("triggered"))).incidents
        await post(at, "pagerduty", told("acknowledged", "e2"))
        assert (await at.app.incident(incident)).acknowledged_by == "Ines Roth"
        await post(at, "opsgenie", OPSGENIE)
        await post(
            at, "opsgenie", {**OPSGENIE, "action": "Acknowledge", "alert": {**OPSGENIE["alert"], "username": " "}}
        )
        (other,) = [one for one in await at.app.incidents() if one.id != incident]
        assert other.acknowledged_by == "opsgenie"


# By the key alone.


async def test_an_event_that_names_its_key_alone_ends_what_it_is_about(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database, more=SOURCES) as at:
        (incident,) = (await post(at, "payments", EVENT)).incidents
        before = (await rows(at, alerts))[0]
        ended = {"routing_key": KEY, "event_action": "resolve", "dedup_key": "payment/pool"}
        await post(at, "payments", ended)
        after = (await rows(at, alerts))[0]
        assert (before["status"], after["status"]) == ("firing", "resolved")
        assert [after[name] for name in ("name", "service", "severity")] == ["PoolFull", before["service"], "P1"]
        (event,) = await at.told_of(incident, EventKind.ALERT_RESOLVED)
        assert "PoolFull" in json.dumps(event)


async def test_the_keys_of_two_sources_have_nothing_to_do_with_one_another(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK, more=SOURCES) as at:
        await post(at, "payments", EVENT)
        await post(at, "search", {**EVENT, "routing_key": OTHER})
        await post(at, "search", {"routing_key": OTHER, "event_action": "resolve", "dedup_key": "payment/pool"})
        assert {row["source"]: row["status"] for row in await rows(at, alerts)} == {
            "payments": "firing", "search": "resolved",
        }  # fmt: skip


# Whose it is, by its credentials.


def reception(**sources: dict[str, Any]) -> Reception:
    return Reception(Settings.model_validate({"sources": sources}), Registry())


def addressed(at: Reception, key: str) -> str:
    return at.addressed("pagerduty_events", {}, json.dumps({"routing_key": key}).encode())


def test_the_key_says_whose_an_event_is() -> None:
    at = reception(
        payments={"type": "pagerduty_events", "routing_keys": ["env:KEY_ONE"]},
        search={"type": "pagerduty_events", "routing_keys": ["env:KEY_TWO", "env:KEY_OLD"]},
        pagerduty={"secrets": ["env:KEY_ONE"]},
    )
    assert [addressed(at, key) for key in (KEY, OTHER, "old-key-of-search")] == ["payments", "search", "search"]
    with pytest.raises(Refused, match="Invalid routing key"):
        addressed(at, "X" * 32)
    with pytest.raises(Refused, match="Invalid routing key"):
        addressed(reception(), KEY)


@pytest.mark.parametrize("lame", [{"routing_keys": ["env:NOT_THERE"]}, {"routing_keyz": ["env:KEY_ONE"]}])
def test_a_source_that_cannot_tell_sends_nobody_away_for_good(lame: dict[str, Any]) -> None:
    at = reception(
        search={"type": "pagerduty_events", "routing_key": "env:KEY_TWO"}, lame={"type": "pagerduty_events", **lame}
    )
    assert addressed(at, OTHER) == "search"
    with pytest.raises(Unavailable):
        addressed(at, "X" * 32)


# A kind of source that everybody posts to at one address.


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("sources", "meant", "known"),
    [
        ({}, ["alertmanager_api"] * 3, [False] * 3),
        ({"open": {}}, ["open"] * 3, [False] * 3),
        ({"open": {}, "one": {"token": "env:KEY_ONE"}}, ["open", "one", "open"], [False, True, False]),
        (
            {"two": {"token": "env:KEY_TWO"}, "one": {"token": "env:KEY_ONE"}},
            ["alertmanager_api", "one", "two"],
            [False, True, True],
        ),
        ({"alertmanager_api": {"token": "env:KEY_ONE"}}, ["alertmanager_api"] * 3, [False, True, False]),
        ({"lame": {"token": "env:NOT_THERE"}}, ["alertmanager_api"] * 3, [False] * 3),
        ({"wrong": {"tokken": "env:KEY_ONE"}}, ["alertmanager_api"] * 3, [False] * 3),
    ],
)
def test_the_credentials_say_which_source_is_meant(
    sources: dict[str, dict[str, Any]], meant: list[str], known: list[bool]
) -> None:
    """Shown: nothing, the first key, the second."""
    at = reception(**{name: {"type": "alertmanager_api", **more} for name, more in sources.items()})
    shown = [{}, bearer(KEY), bearer(OTHER)]
    assert [at.meant("alertmanager_api", headers, b"[]") for headers in shown] == meant
    assert [at.knows("alertmanager_api", headers) for headers in shown] == known


# Whatever arrives.


async def test_no_body_is_written_in_part(tmp_path: Path, database: str) -> None:
    """Damaged bodies of every source: refused and nothing is there, or accepted and all of it is."""
    chance = random.Random(20261129)
    bodies = {"pagerduty": PAGERDUTY, "opsgenie": OPSGENIE, "payments": EVENT}
    taken = 0
    async with house(tmp_path, BOOK, database=database, more=SOURCES) as at:
        for number in range(240):
            source = chance.choice(list(bodies))
            body = bytearray(json.dumps(bodies[source]).encode())
            for _ in range(chance.randint(1, 3)):
                start = chance.randrange(len(body))
                body[start : start + chance.randint(0, 3)] = chance.choice(
                    [b"", b"\\u0000", b"null", b"\xff", b"9" * 30]
                )
            before = await rows(at, alerts), await rows(at, quarantine)
            try:
                receipt = await at.app.receive(source, {"x-webhook-id": str(number)}, bytes(body))
            except (InvalidInput, Refused):
                assert (await rows(at, alerts), await rows(at, quarantine)) == before
                continue
            taken += receipt.accepted
            assert len(await rows(at, quarantine)) == len(before[1]) + len(receipt.quarantined)
            known = {row["fingerprint"] for row in await rows(at, alerts)}
            assert set(receipt.fingerprints) <= known
        assert taken > 20


# How a sender was known.

_BASIC = "Basic " + base64.b64encode(b"ann:w0rd").decode()
_BEARER = {"authorization": "Bearer s3cret"}


def _signed(header: str, body: bytes, prefix: str = "", key: str = "s1gner") -> dict[str, str]:
    return {header: prefix + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize(
    ("source", "params", "headers", "said"),
    [
        ("alertmanager", {}, {}, UNPROVEN),
        ("alertmanager", {}, _BEARER, UNPROVEN),
        ("alertmanager", {"token": "env:W_TOKEN"}, _BEARER, "bearer token"),
        ("alertmanager", {"username": "ann", "password": "env:W_WORD"}, {"Authorization": _BASIC}, "basic auth"),
        ("datadog", {"token": "env:W_TOKEN", "header": "X-Secret"}, {"x-secret": "s3cret"}, "token in X-Secret"),
        ("datadog", {"token": "env:W_TOKEN", "header": "X-Secret", "username": "ann", "password": "env:W_WORD"},
         {"authorization": _BASIC}, "basic auth"),
        ("newrelic", {"token": "env:W_TOKEN"}, _BEARER, "bearer token"),
        ("opsgenie", {}, {}, UNPROVEN),
        ("generic", {"secret": "env:W_SIGN", "signature_header": "X-Sign"}, _signed("x-sign", BODY_OF_ALL),
         "signature in X-Sign verified"),
        ("grafana", {"secret": "env:W_SIGN", "token": "env:W_TOKEN"},
         {**_signed("x-grafana-alerting-signature", BODY_OF_ALL), **_BEARER},
         "signature of its body in X-Grafana-Alerting-Signature verified and bearer token"),
        ("pagerduty", {"secret": "env:W_SIGN"}, _signed("x-pagerduty-signature", BODY_OF_ALL, "v1="),
         "signature v1 verified"),
        ("pagerduty", {"secret": "env:W_SIGN", "token": "env:W_TOKEN"}, _BEARER, "bearer token"),
        ("pagerduty_events", {"routing_keys": ["env:KEY_ONE"]}, {}, "routing key"),
        ("cloudwatch", {"topics": ["arn:aws:sns:eu-west-1:123456789012:alarms"], "raw": True, "username": "ann",
                        "password": "env:W_WORD"},
         {"authorization": _BASIC, "x-amz-sns-rawdelivery": "true",
          "x-amz-sns-topic-arn": "arn:aws:sns:eu-west-1:123456789012:alarms"}, "basic auth"),
    ],
)  # fmt: skip
def test_a_sender_is_known_by_what_was_verified(
    source: str, params: dict[str, Any], headers: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("W_TOKEN", "s3cret"), ("W_WORD", "w0rd"), ("W_SIGN", "s1gner")):
        monkeypatch.setenv(name, value)
    body = json.dumps(EVENT).encode() if source == "pagerduty_events" else BODY_OF_ALL
    kind = Registry().source(source)
    known = kind.params.model_validate(params)
    assert kind.verify(headers, body, known) is None
    assert (known_by(kind, known, headers, body) or UNPROVEN) == said


def test_a_source_that_does_not_say_how_is_asked_whether_it_refuses_strangers() -> None:
    kind = replace(Registry().source("alertmanager"), proof=None)
    assert known_by(kind, kind.params(), {}, b"") == ""
    assert known_by(kind, kind.params(token="env:W_TOKEN"), _BEARER, b"") == "the source's own secret"


async def test_how_a_sender_was_known_goes_on_with_the_alert_also_through_the_inbox(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflow, "AT_ONCE", 0)
    async with house(tmp_path, BOOK, more=SOURCES, database=database) as at:
        await post(at, "payments", {**EVENT, "routing_key": KEY})
        await eventually(lambda: at.app.incidents(), "its incident")
        (row,) = await at.app.alerts()
        assert (await at.app.alerting.why(row["id"])).signature == "routing key"


# What a site says of one source.

OF_SOURCES = """
sources:
  am: {type: alertmanager, labels: {team: payments, service: none}, severities: {page: P1, ticket: P3},
       dedup: {leave_out: [pod, value]}, tenant: acme}
  slow: {type: alertmanager, rate: 4/h, burst: 6}
"""


class Bare(Params):
    pass


def group_of(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}", "alerts": list(entries)}


async def test_what_a_site_says_of_a_source_holds_before_anything_is_decided(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database, more=OF_SOURCES) as at:
        first = await post(at, "am", group_of(alert(severity="page", pod="a", value="1")))
        again = await post(at, "am", group_of(alert(severity="page", pod="b", value="2")))
        assert (len(first.incidents), again.fingerprints) == (1, first.fingerprints)
        (row,) = await rows(at, alerts)
        told = json.loads(row["alert"])
        assert (row["count"], row["tenant"], row["severity"], row["source"]) == (2, "acme", "P1", "am")
        assert (told["labels"]["team"], told["labels"]["service"]) == ("payments", "shop"), "its own word goes before"
        assert (await at.app.incident(first.incidents[0])).severity == "P1"
        await post(at, "am", group_of(alert(status="resolved", severity="page", pod="c")))
        assert (await rows(at, alerts))[0]["status"] == "resolved"


async def test_while_one_of_those_that_are_one_fires_it_has_not_resolved(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK, more=OF_SOURCES) as at:
        both = group_of(alert(pod="a"), alert(status="resolved", pod="b"))
        assert (await post(at, "am", both)).accepted == 1
        (row,) = await rows(at, alerts)
        assert (row["status"], row["changes"]) == ("firing", "[]")


async def test_more_than_a_source_may_send_is_refused_whole_and_told(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house(tmp_path, BOOK, database=database, more=OF_SOURCES) as at:
        await post(at, "slow", group_of(*(alert(f"A{number}") for number in range(4))))
        before = await rows(at, alerts)
        for _ in range(3):
            with pytest.raises(Unavailable, match=r"4/h.*nothing of them was taken") as refused:
                await post(at, "slow", group_of(*(alert(f"B{number}") for number in range(3)), {"status": "x"}))
        assert 0 < refused.value.retry_after <= 1_800
        assert (await rows(at, alerts), await rows(at, quarantine)) == (before, [])
        assert (await post(at, "am", group_of(alert("C")))).accepted == 1, "the others have their own"
        assert (await post(at, "slow", group_of(alert("B0"), alert("B1")))).accepted == 2
    assert capsys.readouterr().out.count("source_over_its_rate") == 1


def test_when_it_may_send_again_it_is_let_in() -> None:
    now = 100.0
    settings = Settings.model_validate({"sources": {"alertmanager": {"rate": "4/10s"}}})
    at = Reception(settings, Registry(), clock=lambda: now)
    at.within_rate("alertmanager", 4)
    with pytest.raises(Unavailable) as refused:
        at.within_rate("alertmanager", 2)
    assert refused.value.retry_after == 5
    now += 5
    at.within_rate("alertmanager", 2)
    at.within_rate("grafana", 10_000)


async def test_a_body_that_is_longer_than_its_source_may_send_is_refused_before_it_is_read(tmp_path: Path) -> None:
    more = "sources: {alertmanager: {max_body_bytes: 2048, token: 'env:KEY_ONE'}}\n"
    async with house(tmp_path, BOOK, more=more) as at:
        with pytest.raises(Refused, match="2049 bytes; of alertmanager at most 2048") as refused:
            await at.app.receive("alertmanager", {}, b"{" + b" " * 2048)
        assert (refused.value.rule, refused.value.limit) == ("size", 2048)
        with pytest.raises(Refused) as unknown:
            await at.app.receive("alertmanager", {}, b"{" + b" " * 2047)
        assert unknown.value.rule == "signature"


async def test_alerts_of_a_source_that_names_no_tenant_are_the_sites(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK, more="tenant: acme\n") as at:
        await at.fire()
        (row,) = await rows(at, alerts)
        assert row["tenant"] == "acme"
        assert len(await at.app.incidents()) == 1


def bare_parse(body: bytes, headers: Mapping[str, str], params: Any, received_at: Any) -> Any:
    told = json.loads(body)
    return [Alert(source="bare", received_at=received_at, fingerprint="f", **one) for one in told], []


async def test_a_type_without_labels_and_tenant_of_its_own_has_those_of_its_site() -> None:
    """Somebody else's plug-in, which knows none of these."""
    kind = replace(
        Registry().source("alertmanager"), name="bare", params=Bare, parse=bare_parse, proof=None,
        verify=lambda *_: None,
    )  # fmt: skip
    said = {"labels": {"team": "a", "x": "0"}, "severities": {"page": "P1"}, "dedup": {"by": ["x"]}}
    settings = Settings.model_validate(
        {"tenant": "house", "sources": {"bare": said, "us": {"type": "bare", "tenant": "us"}}}
    )

    class Site(Registry):
        def source(self, name: str) -> Any:
            return kind

    at = Reception(settings, Site())
    body = json.dumps([
        {"name": "A", "status": "firing", "labels": {"x": "1", "severity": "page"}}, {"name": "A", "status": "resolved"},
        {"name": "A", "status": "firing", "tenant": "own"},
    ]).encode()  # fmt: skip
    world: Any = None
    first, second, third = (await at.read("bare", {}, body, world)).alerts
    assert (first.tenant, first.severity, first.labels) == ("house", "P1", {"team": "a", "x": "1", "severity": "page"})
    assert first.fingerprint not in ("f", third.fingerprint)
    assert (second.labels, second.fingerprint) == ({}, "f"), "an end that names its alert alone"
    assert third.tenant == "own"
    assert {one.tenant for one in (await at.read("us", {}, body, world)).alerts} == {"us", "own"}

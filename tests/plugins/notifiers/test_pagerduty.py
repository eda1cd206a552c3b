"""The PagerDuty notifier against a fake of the Events API v2."""

import dataclasses
from typing import Any

import pytest

from quell.errors import Permanent, Transient
from quell.plugins.notifiers import pagerduty
from quell.ports import Asked, Connection, Message
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.serving import Fault
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

PAGE = Message(
    kind="page",
    incident="inc-42",
    title="Payments fail",
    text="12 % of payments fail",
    severity="P1",
    service="payment",
    url="https://quell.example/incidents/inc-42",
    status="escalated",
    sections=(("Tried", ("restart payment",)),),
    findings=({"check": "db", "status": "critical", "message": "full"},),
)


async def page(fake: FakePagerDuty, message: Message = PAGE, key: str | None = None, **params: Any) -> str:
    here = Connection(name="payments", type="pagerduty", url=f"{fake.url}/v2/enqueue", password=key or fake.routing_key)
    async with probe_over(here) as probe:
        return await pagerduty.send(message, pagerduty.Params(**params), probe)


async def test_an_incident_is_one_alert_from_page_to_resolved() -> None:
    with FakePagerDuty() as fake:
        said = await page(fake, target="pagerduty:payments")
        assert said.startswith("trigger inc-42: ")
        assert fake.alerts["inc-42"].state == "triggered"
        await page(fake)
        assert len(fake.alerts) == 1
        await page(fake, dataclasses.replace(PAGE, kind="update", status="acknowledged"))
        assert fake.alerts["inc-42"].state == "acknowledged"
        await page(fake, dataclasses.replace(PAGE, kind="resolved", status="resolved"))
        assert fake.alerts["inc-42"].state == "resolved"


async def test_the_page_carries_severity_link_and_evidence() -> None:
    with FakePagerDuty() as fake:
        await page(fake)
        (event,) = fake.events
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["summary"] == "P1 Payments fail: 12 % of payments fail"
    assert event["payload"]["source"] == "payment"
    assert event["links"] == [{"href": PAGE.url, "text": "Open incident"}]
    assert event["payload"]["custom_details"]["diagnostics"] == ["critical: db full"]
    assert event["payload"]["custom_details"]["Tried"] == ["restart payment"]


async def test_long_texts_are_cut_to_the_limits() -> None:
    big = dataclasses.replace(
        PAGE,
        incident="i" * 400,
        title="t" * 2000,
        service="",
        sections=(("Log", ("x" * 10_000,) * 1000),),
        findings=({"check": "c", "message": "y" * 10_000},) * 500,
    )
    with FakePagerDuty() as fake:
        await page(fake, big)
        assert len(fake.events) == 1


async def test_what_is_asked_stands_in_the_details_before_the_evidence() -> None:
    asked = Asked(
        approval="a1", asks="approval", call="do " + "x" * 9000, targets=("payment", "ledger"), undo="cannot be undone"
    )
    with FakePagerDuty() as fake:
        await page(fake, dataclasses.replace(PAGE, kind="approval", asked=asked))
        (event,) = fake.events
    details = event["payload"]["custom_details"]
    assert list(details)[3:] == ["Call", "Targets", "Undo", "diagnostics", "Tried"]
    assert (details["Targets"], details["Undo"]) == ("payment\nledger", "cannot be undone")
    assert len(details["Call"]) == 4000


async def test_a_given_dedup_key_wins() -> None:
    with FakePagerDuty() as fake:
        await page(fake, dataclasses.replace(PAGE, dedup_key="group-7"))
        assert list(fake.alerts) == ["group-7"]


async def test_the_routing_key_may_be_a_secret_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakePagerDuty() as fake:
        monkeypatch.setenv("ROUTING", fake.routing_key)
        async with probe_over() as probe:
            params = pagerduty.Params(routing_key="env:ROUTING", url=f"{fake.url}/v2/enqueue")
            await pagerduty.send(PAGE, params, probe)
        assert len(fake.events) == 1


async def test_a_wrong_key_is_permanent_and_not_shown() -> None:
    key = "W" + "1" * 31
    with FakePagerDuty() as fake, pytest.raises(Permanent, match="'routing_key' is not valid") as caught:
        await page(fake, key=key)
    assert key not in str(caught.value)


async def test_a_throttle_says_when_to_come_back() -> None:
    with FakePagerDuty() as fake:
        fake.inject(Fault.refuse(429, retry_after=9))
        with pytest.raises(Transient, match="throttle exceeded") as caught:
            await page(fake)
    assert caught.value.retry_after == 9.0


async def test_a_server_error_is_transient() -> None:
    with FakePagerDuty() as fake:
        fake.inject(Fault.refuse(500))
        with pytest.raises(Transient):
            await page(fake)


async def test_a_connection_without_a_key_is_refused() -> None:
    async with probe_over(Connection(name="payments", type="pagerduty")) as probe:
        with pytest.raises(Permanent, match="no routing key"):
            await pagerduty.send(PAGE, pagerduty.Params(), probe)

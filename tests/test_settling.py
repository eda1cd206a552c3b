"""What follows from an alert that was placed: how severe an incident is that affects many services."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app import do, house, runbook

pytestmark = pytest.mark.anyio

BOOK = runbook(
    "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
)
SERVICES = "{shop: {tier: 0, depends_on: [db]}, web: {depends_on: [db]}, db: {tier: 1}, mail: {tier: 3}}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def test_the_service_that_makes_it_many_makes_it_more_severe_once(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database, services=SERVICES) as at:
        incident = await at.fire("Odd", service="db", severity="warning")
        assert (await at.app.incident(incident)).severity == "P3"
        assert await at.fire("Odd", service="web", severity="warning") == incident
        assert (await at.app.incident(incident)).severity == "P3"
        assert await at.fire("Odd", service="shop", severity="warning") == incident
        assert (await at.app.incident(incident)).severity == "P2"
        assert await at.fire("Other", service="shop", severity="warning") == incident
        assert (await at.app.incident(incident)).severity == "P2"


async def test_where_nobody_says_how_severe_the_tier_does(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK, services=SERVICES) as at:
        for service, severity in (("shop", "P2"), ("mail", "P4"), ("unknown", "P3")):
            incident = await at.fire(f"Of{service}", service=service)
            assert (await at.app.incident(incident)).severity == severity


async def test_the_incident_that_a_repeated_word_is_about(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK, services=SERVICES) as at:
        incident = await at.fire()
        receipts = [await at.calm(), await at.calm()]
        assert [receipt.incidents for receipt in receipts] == [(incident,), ()]

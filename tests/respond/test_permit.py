"""What must be in the database before anything is touched: an incident that is in somebody's hands is not acted on,
however late they took it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import Incident
from quell.respond import permit
from quell.store import events
from quell.store.database import Database
from quell.store.migrate import migrate
from tests.app import House, do, eventually, house, runbook

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
ONE = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"


@pytest.mark.parametrize(
    ("does", "rule"),
    [(lambda home, one: home.app.take(one, "anna"), "taken"),
     (lambda home, one: home.app.resolve(one, "anna"), "incident_ended")],
)  # fmt: skip
async def test_taken_between_the_last_look_and_the_intent_it_is_not_acted_on(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch,
    does: Callable[[House, str], Awaitable[Incident]], rule: str,
) -> None:  # fmt: skip
    async with house(tmp_path, runbook(FIX, ONE), database=database) as home:
        intend = permit.intend

        async def after_somebody(means: Any, request: Any, *more: Any, **named: Any) -> Any:
            await does(home, request.context.incident)
            return await intend(means, request, *more, **named)

        monkeypatch.setattr(permit, "intend", after_somebody)
        now = await home.over(await home.fire())
        assert (home.effects, now.deeds, [one["rule"] for one in now.refusals]) == ([], {}, [rule])
        assert now.outcome == "stopped"


async def test_superseded_between_the_last_look_and_the_intent_it_is_not_acted_on(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause = runbook("- {condition: state.value > 900, then: [fix]}", ONE).replace("id: down", "id: cause")
    cause = cause.replace("service: shop", "service: db").replace("alert_name: Down", "alert_name: DbDown")
    services = "{shop: {depends_on: [db]}, db: {}}"
    async with house(tmp_path, [runbook(FIX, ONE), cause], database=database, services=services) as home:
        intend = permit.intend

        async def after_the_cause(means: Any, request: Any, *more: Any, **named: Any) -> Any:
            await home.fire("DbDown", service="db")
            return await intend(means, request, *more, **named)

        monkeypatch.setattr(permit, "intend", after_the_cause)
        incident = await home.fire()
        now = await home.until(incident, lambda now: now.run == 2 and now.outcome is not None, "the second run")
        assert (home.effects, now.deeds, now.runbook) == ([], {}, "cause")

        async def refused() -> list[str]:
            return [one["rule"] for one in await home.told_of(incident, EventKind.ACTION_REFUSED)]

        await eventually(refused, "the refusal of the first run")
        assert await refused() == ["superseded"]
        ended = [one["outcome"] for one in await home.told_of(incident, EventKind.RUN_ENDED)]
        assert ended == ["superseded", "escalated"]


async def test_who_takes_it_waits_for_what_is_being_decided(postgres_url: str) -> None:
    """Once it is taken, no intent is committed that had looked before: the one comes after the other."""
    database = Database(postgres_url)
    migrate(database.engine)

    def tells(connection: sa.Connection, kind: EventKind, **payload: Any) -> list[Any]:
        return events.append(connection, "t", Stream.INCIDENT, "i", [NewEvent(kind=kind, payload=payload)])

    try:
        database.write_now(lambda c: tells(c, EventKind.OPENED, title="i", severity="P2"))
        with ThreadPoolExecutor(1) as pool, database.engine.begin() as deciding:
            events.hold(deciding, "t", Stream.INCIDENT, "i")
            taken = pool.submit(database.write_now, lambda c: tells(c, EventKind.TAKEN, by="anna"))
            waits = sa.text("select count(*) from pg_locks where not granted")

            async def waiting() -> bool:
                return bool(await database.read(lambda c: c.execute(waits).scalar()))

            await eventually(waiting, "whoever takes it waits")
            assert not taken.done()
            tells(deciding, EventKind.NOTED, text="it is decided")
            deciding.commit()
            taken.result(10)
        told = await database.read(lambda c: events.read(c, "t", Stream.INCIDENT, "i"))
        assert [event.kind for event in told] == [EventKind.OPENED, EventKind.NOTED, EventKind.TAKEN]
    finally:
        database.close()

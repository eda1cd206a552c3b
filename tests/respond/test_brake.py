"""The kill switch: nothing that it covers acts, whatever had been agreed before; it ends by itself; it is recorded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell.engine import ledger
from quell.engine.ledger import Ask
from quell.errors import InvalidInput, NotFound
from quell.incident.event import EventKind, Stream
from quell.incident.pause import Pause, Scope
from quell.respond import permit
from quell.respond.brake import SWITCHES
from quell.respond.means import Means
from quell.store import events, pauses
from quell.store.database import Database
from quell.store.migrate import migrate
from tests.app import House, do, eventually, house, runbook
from tests.respond.test_approve import FIX, asking

pytestmark = pytest.mark.anyio

ONE = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
MOVE = "we move the network"


async def pull(home: House, scope: Scope = Scope.ALL, name: str = "", for_s: float = 60.0) -> Pause:
    return await home.app.pause(scope, name, for_s=for_s, by="ann", reason=MOVE)


async def logged(home: House) -> list[EventKind]:
    tenant = home.app.settings.tenant
    told = await home.app.database.read(lambda c: events.read(c, tenant, Stream.SYSTEM, SWITCHES))
    return [event.kind for event in told]


@pytest.mark.parametrize(
    ("scope", "name"),
    [(Scope.ALL, ""), (Scope.TENANT, "default"), (Scope.SERVICE, "shop"), (Scope.RUNBOOK, "down"),
     (Scope.ACTION, "run_script"), (Scope.ACTION, "script")],
)  # fmt: skip
async def test_while_it_is_on_nothing_acts_and_somebody_is_paged_with_the_reason(
    tmp_path: Path, scope: Scope, name: str
) -> None:
    async with house(tmp_path, runbook(FIX, ONE)) as home:
        pause = await pull(home, scope, name)
        incident = await home.fire()
        now = await home.escalated(incident)
        assert home.effects == []
        (refused,) = await home.told_of(incident, EventKind.ACTION_REFUSED)
        assert (refused["rule"], refused["value"], refused["limit"]) == ("paused", pause.id, pause.until.isoformat())
        assert MOVE in now.reason
        assert "by ann" in now.reason
        # It was looked at all the same.
        assert await home.told_of(incident, EventKind.CHECK_FINISHED)


@pytest.mark.parametrize(
    ("scope", "name"), [(Scope.SERVICE, "mail"), (Scope.RUNBOOK, "other"), (Scope.ACTION, "rollback")]
)
async def test_what_it_does_not_cover_goes_on(tmp_path: Path, scope: Scope, name: str) -> None:
    other = runbook(FIX, ONE).replace("id: down", "id: other").replace("alert_name: Down", "alert_name: Other")
    async with house(tmp_path, [runbook(FIX, ONE), other], services="{shop: {}, mail: {}}") as home:
        await pull(home, scope, name)
        assert (await home.over(await home.fire())).outcome == "resolved"
        assert home.effects == ["fix"]


async def test_what_was_agreed_to_does_not_act_either(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, asking()), database=database) as home:
        incident = await home.fire()
        await home.asked(incident)
        await pull(home)
        await home.app.answer(incident, "approved", "anna")
        now = await home.escalated(incident)
        assert (home.effects, now.refusals[0]["rule"]) == ([], "paused")


async def test_pulled_between_the_last_look_and_the_intent_it_still_holds(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, runbook(FIX, ONE), database=database) as home:
        intend = permit.intend

        async def pulled_first(*args: Any, **more: Any) -> Any:
            await pull(home)
            return await intend(*args, **more)

        monkeypatch.setattr(permit, "intend", pulled_first)
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (home.effects, now.refusals[0]["rule"]) == ([], "paused")


async def test_it_ends_by_itself(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE)) as home:
        await pull(home, for_s=0.3)
        assert [one.scope for one in home.app.paused] == [Scope.ALL]

        async def over() -> bool:
            return not home.app.paused and not await home.app.pauses()

        await eventually(over, "the end of the pause")
        assert (await home.over(await home.fire())).outcome == "resolved"


async def test_resumed_it_acts_again_and_both_are_recorded(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, ONE), database=database) as home:
        await pull(home)
        (ended,) = await home.app.resume(None, None, "", by="bob", reason="moved")
        assert (ended.scope, home.app.paused) == (Scope.ALL, ())
        assert await logged(home) == [EventKind.PAUSED, EventKind.RESUMED]
        with pytest.raises(NotFound):
            await home.app.resume(ended.id, None, "", by="bob")
        assert (await home.over(await home.fire())).outcome == "resolved"


async def test_of_several_one_is_named(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE)) as home:
        first, _ = await pull(home, Scope.SERVICE, "shop"), await pull(home, Scope.RUNBOOK, "down")
        with pytest.raises(InvalidInput, match="2 pauses are on") as error:
            await home.app.resume(None, None, "", by="bob")
        assert first.id in str(error.value)
        assert [one.id for one in await home.app.resume(None, Scope.SERVICE, "shop", by="bob")] == [first.id]
        assert [one.scope for one in await home.app.pauses()] == [Scope.RUNBOOK]


@pytest.mark.parametrize(
    ("scope", "name", "near"),
    [(Scope.SERVICE, "shpo", "shop"), (Scope.RUNBOOK, "dwon", "down"), (Scope.ACTION, "restart_servic", "restart_service"),
     (Scope.TENANT, "defaults", "default")],
)  # fmt: skip
async def test_a_pause_of_nothing_is_an_error(tmp_path: Path, scope: Scope, name: str, near: str) -> None:
    async with house(tmp_path, runbook(FIX, ONE)) as home:
        with pytest.raises(NotFound) as error:
            await pull(home, scope, name)
        assert error.value.nearest == near
        assert await home.app.pauses() == []


async def test_without_a_name_a_reason_or_an_end_nothing_is_paused(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE)) as home:
        for by, reason, for_s in (
            ("", MOVE, 60.0),
            ("ann", " ", 60.0),
            ("ann", MOVE, 0.0),
            ("ann", MOVE, 31 * 86400.0),
        ):
            with pytest.raises(InvalidInput):
                await home.app.pause(Scope.ALL, "", for_s=for_s, by=by, reason=reason)
        with pytest.raises(InvalidInput) as error:
            await home.app.pause(Scope.SERVICE, "", for_s=0, by="ann", reason="")
        assert len(error.value.problems) == 3
        assert await home.app.pauses() == []


ACME = "sources: {alertmanager: {tenant: acme}}\n"


@pytest.mark.parametrize(("scope", "name"), [(Scope.SERVICE, "shop"), (Scope.TENANT, "acme"), (Scope.RUNBOOK, "down")])
async def test_it_holds_for_the_alerts_of_every_tenant(tmp_path: Path, scope: Scope, name: str) -> None:
    async with house(tmp_path, runbook(FIX, ONE), more=ACME) as home:
        await pull(home, scope, name)
        now = await home.escalated(await home.fire())
        assert (now.tenant, home.effects, now.refusals[0]["rule"]) == ("acme", [], "paused")


async def test_a_service_is_reset_for_the_alerts_of_every_tenant(tmp_path: Path) -> None:
    more = ACME + "guardrails: {breaker: {after: 1}}\n"
    async with house(tmp_path, runbook(FIX, ONE), more=more) as home:
        assert (await home.over(await home.fire())).outcome == "resolved"
        assert [(one.service, one.tenant, one.count, one.tripped) for one in await home.app.breakers()] == [
            ("shop", "acme", 1, True)
        ]
        home.state(50)
        await home.calm()
        await home.asked(again := await home.fire())
        assert "repaired once within 1d" in (await home.app.incident(again)).waiting[0].why
        await home.app.reset("shop", "ann", "it was the cable")
        assert await home.app.breakers() == []


async def test_who_pulls_it_waits_for_what_is_being_decided(postgres_url: str) -> None:
    """Once it is pulled, no intent is committed that had looked before: the one comes after the other."""
    database = Database(postgres_url)
    migrate(database.engine)
    now = datetime.now(UTC)
    pause = Pause(id="p", tenant="t", scope=Scope.ALL, by="ann", reason=MOVE, at=now, until=now + timedelta(hours=1))
    try:
        with ThreadPoolExecutor(1) as pool, database.engine.begin() as deciding:
            pauses.hold(deciding)
            assert pauses.on(deciding, 0) == ()
            pulled = pool.submit(database.write_now, lambda c: pauses.add(c, pause))
            waits = sa.text("select count(*) from pg_locks where locktype = 'advisory' and not granted")

            async def waiting() -> bool:
                return bool(await database.read(lambda c: c.execute(waits).scalar()))

            await eventually(waiting, "the pull waits")
            assert not pulled.done()
            deciding.commit()
            pulled.result(10)
        assert [one.id for one in await database.read(lambda c: pauses.on(c, 0))] == ["p"]
    finally:
        database.close()


async def test_before_an_intent_the_switch_is_held_still_while_it_is_looked_at(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = sa.text(
        "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory' and mode = 'ShareLock'"
    )
    seen = list[int]()

    def looking(look: Any) -> Any:
        def looks(connection: sa.Connection, *more: Any) -> Any:
            seen.append(connection.execute(held).scalar_one())
            return look(connection, *more)

        return looks

    monkeypatch.setattr(pauses, "on", looking(pauses.on))
    monkeypatch.setattr(pauses, "now_on", looking(pauses.now_on))
    async with house(tmp_path, runbook(FIX, ONE), database=postgres_url) as home:
        assert (await home.over(await home.fire())).outcome == "resolved"
    assert (seen[0], seen.count(1)) == (0, 1), "who only looks holds nobody up; the intent looks and holds"


async def test_repaired_by_another_between_the_last_look_and_the_intent_it_is_not_repaired_again(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend = permit.intend
    other = Ask(key="run:other.1/fix/1/", tenant="default", action="run_script", targets=(), shared=("service/shop",),
                batch="run:other.1/fix/1/", idempotent=False, request={"risk": "high"}, executor="another")  # fmt: skip

    async def after_another(means: Means, *more: Any, **named: Any) -> Any:
        await means.database.write(lambda c: ledger.intend(c, other, means.database.now_us(c)))
        return await intend(means, *more, **named)

    monkeypatch.setattr(permit, "intend", after_another)
    more = "guardrails: {breaker: {after: 1}}"
    async with house(tmp_path, runbook(FIX, ONE), database=database, more=more) as home:
        now = await home.escalated(await home.fire())
        assert (home.effects, now.refusals[0]["rule"], now.refusals[0]["value"]) == ([], "breaker", 1)

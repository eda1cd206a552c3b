"""Dead man's switches, by the app on both databases: what goes silent becomes an alert, once, and resolves again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell import heartbeats
from quell.app import App, Kind
from quell.errors import InvalidInput, NotFound, Refused, Unavailable
from quell.heartbeats import Heartbeats, Source
from quell.incident.event import EventKind
from quell.incident.imagined import Imagined
from quell.incident.incident import Incident, Status
from quell.incident.matcher import parse_matchers
from quell.intake.heartbeat import State
from quell.reception import Reception
from quell.store.schema import sources as table
from tests.app import House, alert, do, eventually, house, runbook, settings_of, write
from tests.servers.forked import Forked

pytestmark = pytest.mark.anyio

BOOK = runbook(
    "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
)
OFTEN = "sources: {alertmanager: {expect: every 500ms}}"
WATCHDOG = "sources: {alertmanager: {expect: {every: 500ms, alerts: [alertname=Watchdog]}}}"
BACKUP = "sources: {backup: {type: heartbeat, expect: {every: 500ms, name: BackupMissing, severity: P1}}}"
RARELY = "sources: {alertmanager: {expect: every 1h}, backup: {type: heartbeat, expect: every 1d}}"
PAGE = "escalation: 'log:oncall'\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@asynccontextmanager
async def server(folder: Path, more: str, database: str = "") -> AsyncIterator[House]:
    async with house(folder, BOOK, database=database, more=more, kind=Kind.SERVER) as at:
        yield at


async def source(at: House, name: str = "alertmanager") -> Source:
    return next(one for one in await at.app.heartbeats.listed() if one.name == name)


async def missed(at: House, name: str = "HeartbeatMissing") -> Incident:
    """The incident of a source that has gone silent."""

    async def opened() -> bool:
        found = await at.app.alerts(limit=10)
        return any(one["name"] == name and one["status"] == "firing" and one["incident"] for one in found)

    await eventually(opened, f"an incident of {name}")
    row = next(one for one in await at.app.alerts(limit=10) if one["name"] == name)
    return await at.app.incident(row["incident"])


async def state(at: House, wanted: State, name: str = "alertmanager") -> None:
    async def holds() -> bool:
        return (await source(at, name)).state is wanted

    await eventually(holds, f"{name} {wanted}")


async def ping(at: House, name: str = "backup") -> None:
    await at.app.receive(name, {}, b"")


async def looked(at: House, times: int = 3) -> None:
    """So many looks later."""
    number, look = 0, at.app.heartbeats._look

    async def counted() -> None:
        nonlocal number
        await look()
        number += 1

    at.app.heartbeats._look = counted  # type: ignore[method-assign]

    async def enough() -> bool:
        at.app.heartbeats._rests_s = 0.0
        return number >= times

    await eventually(enough, "looks")
    at.app.heartbeats._look = look  # type: ignore[method-assign]


async def shifted(at: House, by: timedelta, *names: str) -> None:
    """What is known of the sources lies that much further back."""
    later = int(by.total_seconds() * 1_000_000)
    columns = ("since", "came_at", "heard_at", "said_at")
    values = {name: table.c[name] - later for name in columns}
    await at.app.database.write(lambda c: c.execute(sa.update(table).where(table.c.name.in_(names)).values(values)))
    at.app.heartbeats._rests_s = 0.0


async def test_a_source_that_goes_silent_opens_an_incident_that_pages_and_ends_when_it_is_heard(
    tmp_path: Path, database: str
) -> None:
    async with server(tmp_path, PAGE + OFTEN, database) as at:
        await at.post()
        assert (await source(at)).state is State.OK
        incident = await missed(at)
        assert (incident.severity, incident.title[:32]) == ("P2", "nothing heard from alertmanager ")
        await at.until(incident.id, lambda now: now.escalated_to, "a page")
        seen = await source(at)
        assert seen.state is State.LATE
        assert seen.alert == (await at.app.alerts(limit=1))[0]["id"]
        await at.calm("Nothing")  # what has resolved is a sign of life, too
        await at.app.heartbeats.kept()
        assert await at.events(incident.id, EventKind.RESOLVED)


async def test_a_source_that_is_never_heard_counts_from_when_it_was_known(tmp_path: Path, database: str) -> None:
    async with server(tmp_path, RARELY, database) as at:
        await looked(at)
        first = await source(at)
        assert first.state is State.NEVER
        assert (first.heard_at, first.expected) == (None, "every 1h")
    async with server(tmp_path, RARELY, database) as at:
        await looked(at)
        assert (await source(at)).late_at == first.late_at  # a restart begins nothing anew
    async with server(tmp_path, RARELY.replace("1h", "2h"), database) as at:
        await looked(at)
        late_at = (await source(at)).late_at
        assert late_at is not None and first.late_at is not None  # noqa: PT018
        assert late_at > first.late_at + timedelta(hours=1)  # what is expected otherwise does


async def test_a_watchdog_is_a_sign_of_life_and_opens_nothing(tmp_path: Path, database: str) -> None:
    async with server(tmp_path, WATCHDOG.replace("500ms", "1h"), database) as at:
        receipt = await at.post(alert("Watchdog", service=""), alert("Odd", service=""))
        assert (receipt.accepted, receipt.heartbeats, len(receipt.incidents)) == (2, 1, 1)
        assert len(receipt.fingerprints) == 2
        assert [one["name"] for one in await at.app.alerts(limit=10)] == ["Odd"]
        first = await source(at)
        assert (first.state, first.alerts, first.deliveries) == (State.OK, 2, 1)
        # Neither another alert nor the end of the Watchdog is one.
        assert (await at.post(alert("Odd", service=""))).heartbeats == 0
        assert (await at.calm("Watchdog", service="")).accepted == 1
        later = await source(at)
        assert later.heard_at == first.heard_at
        assert (later.came_at or datetime.min.replace(tzinfo=UTC)) > (first.came_at or datetime.max.replace(tzinfo=UTC))
        assert [one["name"] for one in await at.app.alerts(limit=10)] == ["Odd"]
        assert len(await at.app.incidents()) == 1


async def test_a_watchdog_alone_is_on_disk_when_its_sender_is_answered(tmp_path: Path, database: str) -> None:
    async with server(tmp_path, WATCHDOG.replace("500ms", "1h"), database) as at:
        receipt = await at.post(alert("Watchdog", service=""))
        assert (receipt.accepted, receipt.heartbeats, receipt.incidents) == (1, 1, ())
        rows = await at.app.database.read(lambda c: c.execute(sa.select(table.c.heard_at)).scalars().all())
        assert [heard is not None for heard in rows] == [True]


async def test_other_alerts_are_no_sign_of_life_where_a_watchdog_is_expected(tmp_path: Path, database: str) -> None:
    async with server(tmp_path, WATCHDOG, database) as at:
        await at.post(alert("Watchdog", service=""))
        stop = asyncio.Event()

        async def chatter() -> None:
            while not stop.is_set():
                await at.post(alert("Odd", service=""))
                await asyncio.sleep(0.05)

        task = asyncio.create_task(chatter())
        incident = await missed(at)
        stop.set()
        await task
        await at.post(alert("Watchdog", service=""))
        assert await at.events(incident.id, EventKind.RESOLVED)


async def test_what_a_person_asks_about_a_watchdog_is_that_it_opens_nothing(tmp_path: Path) -> None:
    async with server(tmp_path, WATCHDOG.replace("500ms", "1h")) as at:
        asked = Imagined.model_validate({"labels": {"alertname": "Watchdog"}, "source": "alertmanager"})
        why = await at.app.alerting.would(asked.alert(datetime.now(UTC), "default"))
        assert (why.outcome, why.reason) == ("nothing", "it is a sign of life of alertmanager, and opens nothing")


async def test_a_heartbeat_needs_no_body_and_its_alert_is_as_the_site_says(tmp_path: Path, database: str) -> None:
    async with server(tmp_path, PAGE + BACKUP, database) as at:
        await ping(at)
        assert (await source(at, "backup")).deliveries == 1
        incident = await missed(at, "BackupMissing")
        assert incident.severity == "P1"
        await ping(at)
        assert await at.events(incident.id, EventKind.RESOLVED)


async def test_it_is_said_again_while_it_lasts_and_counts_as_one(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "AGAIN", timedelta(seconds=0.3))
    async with server(tmp_path, PAGE + OFTEN, database) as at:
        incident = await missed(at)

        async def often() -> bool:
            return bool((await at.app.alerts(limit=10))[0]["count"] >= 3)

        await eventually(often, "said three times")
        assert [one.id for one in await at.app.incidents()] == [incident.id]
        await at.until(incident.id, lambda now: now.escalated_to, "a page")
        await at.app.resolve(incident.id, "ann", "it is nothing")

        async def anew() -> bool:
            return (await at.app.incident(incident.id)).status is not Status.RESOLVED

        await eventually(anew, "the incident that was resolved too soon")


async def test_a_silence_holds_it_as_any_alert(tmp_path: Path) -> None:
    async with server(tmp_path, PAGE + RARELY) as at:
        await state(at, State.NEVER)
        await at.app.alerting.silence_for(parse_matchers("heartbeat=alertmanager"), 3600, "ann", "moved")
        at.app.heartbeats._listening = datetime.now(UTC) - timedelta(hours=2)
        await shifted(at, timedelta(hours=2), "alertmanager")

        async def held() -> bool:
            return [one["held"][:7] for one in await at.app.alerts(limit=10)] == ["silence"]

        await eventually(held, "an alert that is held")
        assert await at.app.incidents() == []


# Restarts.


async def test_after_a_start_nobody_is_late_at_once(tmp_path: Path, database: str) -> None:
    async with server(tmp_path, RARELY, database) as at:
        await at.post()
        await ping(at)
        await at.app.heartbeats.kept()
        await looked(at)
        await shifted(at, timedelta(days=3), "alertmanager", "backup")
    async with server(tmp_path, RARELY, database) as at:
        await looked(at)
        assert await at.app.alerts(limit=10) == []
        assert {one.state for one in await at.app.heartbeats.listed()} == {State.DUE}
        # A quarter of an hour after the start, at the latest, it counts.
        listening = at.app.heartbeats._listening
        assert listening is not None
        at.app.heartbeats._listening = listening - timedelta(minutes=14)
        await looked(at)
        assert await at.app.alerts(limit=10) == []
        at.app.heartbeats._listening = listening - timedelta(minutes=16)
        at.app.heartbeats._rests_s = 0.0
        await missed(at)


async def test_who_was_away_waits_as_after_a_start(tmp_path: Path) -> None:
    async with server(tmp_path, RARELY) as at:
        await looked(at)
        before = at.app.heartbeats._listening
        clock = at.app.heartbeats._clock
        at.app.heartbeats._clock = lambda: clock() + 3600  # the machine slept
        await shifted(at, timedelta(hours=2), "alertmanager")
        await looked(at)
        after = at.app.heartbeats._listening
        assert before is not None and after is not None and after > before  # noqa: PT018
        assert await at.app.alerts(limit=10) == []


async def test_what_is_late_stays_late_over_a_restart_and_what_is_not_expected_any_more_resolves(
    tmp_path: Path, database: str
) -> None:
    async with server(tmp_path, PAGE + OFTEN, database) as at:
        incident = await missed(at)
    async with server(tmp_path, PAGE + OFTEN, database) as at:
        await looked(at)
        assert (await source(at)).state is State.LATE
        assert (await at.app.incident(incident.id)).status is not Status.RESOLVED
    async with server(tmp_path, PAGE, database) as at:
        await at.until(incident.id, lambda now: now.status is Status.RESOLVED, "the end")
        row = (await at.app.alerts(limit=10))[0]
        assert (row["status"], row["alert"]["annotations"]["summary"]) == (
            "resolved", "alertmanager is not expected any more",
        )  # fmt: skip
        assert all(one.state is None for one in await at.app.heartbeats.listed())


async def test_another_process_that_expects_nothing_ends_nobody_elses_watch(tmp_path: Path, database: str) -> None:
    """As in a rolling change of the configuration, or by one that is wrong."""
    async with server(tmp_path, PAGE + OFTEN, database) as at:
        await looked(at)
        none = at.app.settings.model_copy(update={"sources": {}})
        other = Heartbeats(
            at.app.means, Reception(none, at.app.registry), at.app._commit, at.app._plans
        )  # fmt: skip
        await other.look()
        await missed(at)


async def test_who_has_no_server_of_signals_says_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK, more=OFTEN, kind=Kind.RUN) as at:
        await at.post()
        await asyncio.wait_for(at.app.heartbeats.kept(), 5)
        assert at.app.heartbeats._begun is False
        assert (await source(at)).deliveries == 1


# What it costs, and what goes wrong.


async def test_many_that_come_at_once_are_written_in_few_transactions(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(tmp_path, RARELY, database) as at:
        await looked(at)
        written, note = 0, at.app.heartbeats._note

        def counted(*given: Any) -> None:
            nonlocal written
            written += 1
            note(*given)

        monkeypatch.setattr(at.app.heartbeats, "_note", counted)
        await asyncio.gather(*(ping(at) for _ in range(100)))
        assert (await source(at, "backup")).deliveries == 100
        assert written < 20


async def test_what_cannot_be_written_is_told_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(tmp_path, RARELY) as at:
        await looked(at)

        def away(*given: Any) -> None:
            raise Unavailable("the database does not answer")

        monkeypatch.setattr(at.app.heartbeats, "_note", away)
        with pytest.raises(Unavailable):
            await ping(at)
        monkeypatch.undo()
        assert (await source(at, "backup")).deliveries == 1


async def test_a_heartbeat_is_no_effect_of_a_request_with_a_key(tmp_path: Path, database: str) -> None:
    """The alerts beside it are: they must not be taken for done because it was written down first."""
    async with server(tmp_path, WATCHDOG.replace("500ms", "1h"), database) as at:
        with at.app.once.behalf(at.app.once.request("key", "fingerprint")):
            receipt = await at.post(alert("Watchdog", service=""), alert("Odd", service=""))
        assert (receipt.heartbeats, len(receipt.incidents)) == (1, 1)
        assert [one["name"] for one in await at.app.alerts(limit=10)] == ["Odd"]


async def test_refused_deliveries_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP", "secret-of-the-backup")
    more = "sources: {backup: {type: heartbeat, token: env:BACKUP, expect: every 1d}}"
    async with server(tmp_path, more) as at:
        with pytest.raises(Refused):
            await ping(at)
        with pytest.raises(InvalidInput):
            await at.app.receive("alertmanager", {}, b"{")
        with pytest.raises(NotFound):
            await at.app.receive("nobody", {}, b"{}")
        found = {one.name: (one.state, one.refused, one.deliveries) for one in await at.app.heartbeats.listed()}
        assert found == {"backup": (State.NEVER, 1, 0), "alertmanager": (None, 1, 0)}


async def test_what_came_last_is_on_disk_when_it_stops(tmp_path: Path, database: str) -> None:
    async with server(tmp_path, RARELY, database) as at:
        await at.post()
    async with server(tmp_path, RARELY, database) as at:
        assert (await source(at)).deliveries == 1


# Many at once.


def serve(folder: str, database: str, more: str) -> None:
    """In a process of its own: a server that hears nothing; tells when it has looked."""

    async def run() -> None:
        app = App(settings_of(Path(folder), database=database, more=more), kind=Kind.SERVER)
        await app.start()
        print("started", flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


async def test_whoever_comes_second_finds_it_said_or_heard(tmp_path: Path, database: str) -> None:
    """Two that found it late at the same moment: each looks once more where only one may write."""
    async with server(tmp_path, PAGE + RARELY, database) as at:
        await looked(at)
        mine = at.app.heartbeats
        other = Heartbeats(at.app.means, at.app.reception, at.app._commit, at.app._plans)
        due = [one for one in mine._expected if one.name == "alertmanager"]
        for each in (mine, other):
            each._listening = datetime.now(UTC) - timedelta(hours=3)
        await at.app.database.write(
            lambda c: c.execute(sa.update(table).values(since=table.c.since - 2 * 3_600_000_000))
        )
        for each in (mine, other):
            await at.app._commit(lambda change, each=each: each._say(change, due))  # type: ignore[misc]
        (row,) = await at.app.alerts(limit=10)
        assert (row["name"], row["status"], row["count"]) == ("HeartbeatMissing", "firing", 1)
        await at.post()
        await mine.kept()
        await at.app._commit(lambda change: other._say(change, due))
        (row,) = await at.app.alerts(limit=10)
        assert (row["status"], row["count"]) == ("resolved", 1)


async def test_of_many_servers_one_says_that_it_is_silent(tmp_path: Path, postgres_url: str) -> None:
    more = PAGE + OFTEN.replace("500ms", "1s")
    write(tmp_path, BOOK)
    children = [
        Forked("tests.test_heartbeats:serve", given=[str(tmp_path), postgres_url, more], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert await asyncio.to_thread(child.stdout.readline)
        async with house(tmp_path, BOOK, database=postgres_url, more=more, kind=Kind.WORKER) as at:
            incident = await missed(at)
            await at.until(incident.id, lambda now: now.escalated_to, "a page")
            assert (await at.app.alerts(limit=10))[0]["count"] == 1
            # Whoever hears it ends it, also for those who raised it.
            await at.post()
            await at.app.heartbeats.kept()
            assert await at.events(incident.id, EventKind.RESOLVED)
            assert len(await at.app.incidents()) == 1
    finally:
        for child in children:
            child.kill()
            await asyncio.to_thread(child.wait)
            if child.stdout is not None:
                child.stdout.close()

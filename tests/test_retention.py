"""Retention as a use case, on SQLite and PostgreSQL: a whole house makes history, a clock is turned back, all is pruned."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell.app import App, Kind
from quell.audit import Audit, verify_bundle
from quell.engine import breaker, leases, ledger
from quell.engine.retention import Workflows
from quell.errors import InvalidInput, NotFound, Pruned, Unavailable
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import UndeclaredTransition
from quell.registry import Registry
from quell.respond.begin import store_plan
from quell.retention import DAY_S, Retention
from quell.runbook.compile import compile_text
from quell.settings import AuditSettings, Settings
from quell.store import events, folds, prune
from quell.store.database import Database, now_us
from quell.store.migrate import migrate
from quell.store.schema import alerts, approvals, incidents, obligations, pauses, plans, quarantine, runs
from quell.vocabulary_of import vocabulary_of
from tests.app import House, do, eventually, house, runbook
from tests.audited import faults

DAY_US = 86_400 * 1_000_000
MEND = runbook(
    "- {condition: state.critical, then: [mend]}", f"- {{id: mend, type: automated, action: {do('mend', 0)}}}"
)
OPENED = NewEvent(kind=EventKind.OPENED, payload={"title": "down ☠ " + "x" * 2000, "severity": "P1"})
RESOLVED = NewEvent(kind=EventKind.RESOLVED, payload={"reason": "it is well"})


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    migrate(database.engine)
    yield database
    database.close()


def settings(url: str, folder: Path, **more: Any) -> Settings:
    kept = AuditSettings(folder=Path("kept"), key=Path("kept.key"))
    return Settings(database=url, folder=folder, audit=kept, tenant="t", **more)


@pytest.fixture
def retention(database: Database, url: str, tmp_path: Path) -> Retention:
    return Retention(settings(url, tmp_path), DAY_S)


def story(database: Database, name: str, days: float, *new: NewEvent, tenant: str = "t") -> None:
    """An incident whose every event happened so many days ago; it has ended unless told otherwise."""
    told, at = [OPENED, *(new or (RESOLVED,))], now_us() - int(days * DAY_US)
    database.write_now(lambda c: events.append(c, tenant, Stream.INCIDENT, name, told, at_us=at))


def count(database: Database, table: sa.Table, *where: Any) -> int:
    query = sa.select(sa.func.count()).select_from(table).where(*where)
    return int(database.read_now(lambda c: c.execute(query).scalar_one()))


def payloads(database: Database, name: str) -> list[dict[str, Any]]:
    return [one.payload for one in database.read_now(lambda c: events.read(c, "t", Stream.INCIDENT, name))]


def recorded(database: Database, tenant: str = "t") -> list[Any]:
    return database.read_now(lambda c: events.read(c, tenant, Stream.SYSTEM, prune.RETENTION))


def test_what_ended_long_ago_is_erased_and_the_log_holds(
    database: Database, retention: Retention, url: str, tmp_path: Path
) -> None:
    for name, days in (("01old", 100), ("01older", 200), ("01young", 10)):
        story(database, name, days)
    story(database, "01open", 300, NewEvent(kind=EventKind.NOTED, payload={"text": "hm"}))
    dry = retention.look(90 * DAY_S)
    assert (dry.dry_run, dry.erased, dry.kept) == (True, {"incidents": 2, "payloads": 4}, {})
    assert dry.oldest is not None
    assert dry.newest is not None
    assert round((dry.newest - dry.oldest).total_seconds() / DAY_S) == 100
    assert all(payloads(database, "01old")), "a dry run erases nothing"
    assert not list((tmp_path / "kept").glob("*")), "nor does it attest anything"

    done = retention.prune(90 * DAY_S, "ann")
    assert (done.erased, done.oldest, done.newest) == (dry.erased, dry.oldest, dry.newest)
    assert done.checkpoint == str(tmp_path / "kept" / "checkpoint-00000001.json")
    first, second, last = payloads(database, "01old")
    assert (first, second, last["by"]) == ({}, {}, "ann")
    assert all(payloads(database, "01young"))
    assert all(payloads(database, "01open"))
    (told,) = recorded(database)
    assert (told.kind, told.actor) == (EventKind.PAST_PRUNED, "ann")
    assert told.payload == {"by": "ann", "before": done.before.isoformat(), "erased": {"incidents": 2, "payloads": 4}}

    audit = Audit(settings(url, tmp_path))
    report = audit.verify()
    assert (report.holds, report.erased, report.checkpoints) == (True, 4, 1)
    assert audit.checkpoint() is not None
    assert audit.verify().holds
    (tmp_path / "pub").write_text(audit.seal().public.pem)
    for incident in (None, "01older"):
        report = verify_bundle(audit.export(incident), tmp_path / "pub")
        assert (report.holds, report.erased, report.checkpoints) == (True, 2 if incident else 4, 2)
    again = retention.prune(90 * DAY_S, "bob")
    assert (again.erased, again.checkpoint, len(recorded(database))) == ({}, None, 1)


def test_what_is_erased_was_attested(database: Database, retention: Retention, url: str, tmp_path: Path) -> None:
    """Whoever writes the log anew and says that it was pruned is found, since a checkpoint saw what was there."""
    story(database, "01old", 100)
    retention.prune(90 * DAY_S, "ann")
    gone = "delete from quell_events where stream_id = '01old'", "delete from quell_streams where stream_id = '01old'"
    for statement in gone:
        database.write_now(lambda c, s=statement: c.execute(sa.text(s)))
    assert {fault.what.value for fault in Audit(settings(url, tmp_path)).verify().faults} == {"cut"}


def test_nothing_is_erased_that_cannot_be_attested(database: Database, url: str, tmp_path: Path) -> None:
    story(database, "01old", 100)
    (tmp_path / "kept.key").write_text("no key")
    with pytest.raises(InvalidInput):
        Retention(settings(url, tmp_path), DAY_S).prune(90 * DAY_S, "ann")
    assert all(payloads(database, "01old"))


def test_whoever_asks_is_told(database: Database, retention: Retention, url: str, tmp_path: Path) -> None:
    story(database, "01oldest", 100)
    retention.prune(90 * DAY_S, "ann")
    app = App(settings(url, tmp_path))
    app.database = database
    for name in ("01oldest", "01old"):
        with pytest.raises(Pruned, match=r"'01oldest' was pruned at 20\d\d"):
            asyncio.run(app.incident(name))
    for name in ("", "01x", "0%", "01oldestt"):
        with pytest.raises(NotFound) as none:
            asyncio.run(app.incident(name))
        assert not isinstance(none.value, Pruned), name


def test_nobody_writes_on_in_what_was_pruned(database: Database, retention: Retention) -> None:
    """Not even where the process remembers the incident: its log has moved on."""
    story(database, "01old", 100)
    remembered = folds.of("01old")
    assert remembered is not None
    retention.prune(90 * DAY_S, "ann")
    note = NewEvent(kind=EventKind.NOTED, payload={"text": "late"})
    for known in (None, remembered):
        if known is not None:
            folds.keep(known)
        with pytest.raises(UndeclaredTransition):
            database.write_now(lambda c: events.append(c, "t", Stream.INCIDENT, "01old", [note]))
    assert len(payloads(database, "01old")) == 3
    assert faults(database) == []


def test_what_is_not_at_its_end_stays(database: Database, retention: Retention) -> None:
    """Rows that say so, whatever the log says."""
    old = now_us() - 100 * DAY_US
    ask = ledger.Ask("run:01int.1/a/1/", "t", "restart", ("x",), False, {}, "e")
    answered = {"answered_at": old, "state": "approved"}
    for name in ("01app", "01ans", "01obl", "01int", "01unk", "01fin"):
        story(database, name, 100)

    def rows(c: sa.Connection) -> None:
        for name, more in (("01app", {"state": "waiting"}), ("01ans", answered), ("01fin", {**answered, "told_at": 1})):
            values = {"id": name, "tenant": "t", "incident": name, "workflow": "w", "hash": "h", "request": "{}",
                      "requested_at": old, "expires_at": old, **more}  # fmt: skip
            c.execute(sa.insert(approvals).values(values))
        for name, ended in (("01obl", None), ("01fin", old)):
            c.execute(sa.insert(obligations).values(
                id=name, tenant="t", incident=name, what="w", owner="o", revert_at=old, ended_at=ended
            ))  # fmt: skip
        ledger.intend(c, ask, old)
        for name, state in (("01unk", ledger.UNKNOWN), ("01fin", ledger.FAILED)):
            key = f"run:{name}.1/a/1/"
            ledger.intend(c, ledger.Ask(key, "t", "restart", ("x",), False, {}, "e"), old)
            ledger.settle(c, key, state, {}, old)

    database.write_now(rows)
    done = retention.prune(90 * DAY_S, "ann")
    assert done.kept == {"somebody is asked about it": 2, "a change is kept for now": 1,
                         "nobody knows how an action ended": 2}  # fmt: skip
    assert done.erased == {"incidents": 1, "payloads": 2, "intents": 1, "permits": 1}
    left = database.read_now(lambda c: c.execute(sa.select(incidents.c.id).order_by(incidents.c.id)).scalars().all())
    assert left == ["01ans", "01app", "01int", "01obl", "01unk"]
    assert count(database, approvals) == 2
    assert count(database, obligations) == 1


def test_what_a_guardrail_may_still_count_stays(database: Database, url: str, tmp_path: Path) -> None:
    """An incident may go sooner than what it spent."""
    now, target, counts = now_us(), "service/shop", ("done", "failed")
    for name, days in (("01a", 40), ("01b", 20)):
        story(database, name, days)
        key, at = f"run:{name}.1/mend/1/", now - days * DAY_US
        ask = ledger.Ask(key, "t", "restart", ("x",), True, {}, "e", shared=(target,), batch=key + "all")
        database.write_now(lambda c, ask=ask, at=at: ledger.intend(c, ask, at))
        database.write_now(lambda c, key=key, at=at: ledger.settle(c, key, ledger.DONE, {}, at))

    def counted() -> tuple[int, int]:
        since = now - 30 * DAY_US
        return database.read_now(lambda c: (
            ledger.used(c, "t", "restart", ["x"], since)["x"], breaker.remedied(c, "t", target, since, counts)
        ))  # fmt: skip

    before = counted()
    assert before == (1, 1)
    month = Retention(settings(url, tmp_path), 30 * DAY_S)
    assert month.prune(10 * DAY_S, "ann").erased["incidents"] == 2
    assert counted() == before
    assert (count(database, ledger.permits), count(database, ledger.intents)) == (2, 1)
    day = Retention(settings(url, tmp_path), DAY_S)
    assert day.prune(10 * DAY_S, "ann").erased == {"intents": 1, "permits": 2}
    assert counted() == (0, 0)


def test_a_tenant_alone(database: Database, url: str, tmp_path: Path) -> None:
    story(database, "01t", 100)
    story(database, "01u", 100, tenant="u")
    old = now_us() - 100 * DAY_US
    for tenant in ("t", "u"):
        row = {"tenant": tenant, "source": "s", "reason": "r", "fragment": "f", "received_at": old}
        database.write_now(lambda c, row=row: c.execute(sa.insert(quarantine).values(row)))
    with pytest.raises(NotFound, match="did you mean 'u'"):
        Retention(settings(url, tmp_path), DAY_S, "uu").look(90 * DAY_S)
    done = Retention(settings(url, tmp_path), DAY_S, "u").prune(90 * DAY_S, "ann")
    assert done.erased == {"incidents": 1, "payloads": 2, "quarantined": 1}
    assert all(payloads(database, "01t"))
    assert (recorded(database), len(recorded(database, "u"))) == ([], 2)
    assert Retention(settings(url, tmp_path), DAY_S).prune(90 * DAY_S, "ann").erased == done.erased


@pytest.mark.parametrize("older_s", [0.0, -1.0, DAY_S - 1])
def test_a_day_is_the_least(retention: Retention, older_s: float) -> None:
    for ask in (retention.look, lambda older: retention.prune(older, "ann")):
        with pytest.raises(InvalidInput, match="a day old"):
            ask(older_s)


def test_somebody_says_so(database: Database, retention: Retention) -> None:
    story(database, "01old", 100)
    with pytest.raises(InvalidInput, match="who you are"):
        retention.prune(90 * DAY_S, " ")
    assert all(payloads(database, "01old"))


def test_no_database_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.db"):
        Retention(settings(str(tmp_path / "nowhere.db"), tmp_path), DAY_S).look(90 * DAY_S)
    assert not (tmp_path / "nowhere.db").exists()


ASK = MEND.replace("id: down", "id: ask").replace("alert_name: Down", "alert_name: Ask").replace(
    "service: shop", "service: till"
).replace("{id: mend,", "{id: mend, approval: {expires: 30d},")  # fmt: skip
BOTH = {"services": "{shop: {}, till: {}}", "sound": True}
LIBRARY = ("workflow_status", "workflow_input", "operation_outputs", "notifications", "workflow_events", "streams")
MADE_FOR_INCIDENTS = (incidents, alerts, approvals, obligations, plans, runs, ledger.intents, ledger.permits)


def years_later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """The database's clock, as retention reads it."""
    monkeypatch.setattr(Database, "now_us", lambda self, connection: now_us() + int(days * DAY_US))


def left(database: str, *tables: str) -> dict[str, int]:
    """Rows of the durable library, by table."""
    opened = Database(database)
    schema = "" if opened.is_sqlite else "dbos."
    try:
        return {
            name: opened.read_now(
                lambda c, n=name: c.execute(sa.text(f"select count(*) from {schema}{n}")).scalar_one()
            )
            for name in tables
        }
    finally:
        opened.close()


def status(database: str, workflows: str, now: str) -> None:
    """Say that these workflows are at another point than they are."""
    opened = Database(database)
    table = "workflow_status" if opened.is_sqlite else "dbos.workflow_status"
    change = sa.text(f"update {table} set status = :now where workflow_uuid like :workflows")
    try:
        assert opened.write_now(lambda c: c.execute(change, {"now": now, "workflows": workflows}).rowcount) == 1
    finally:
        opened.close()


@asynccontextmanager
async def lived(folder: Path, database: str) -> AsyncIterator[House]:
    async with house(folder, [MEND, ASK], database=database, **BOTH) as home:
        yield home


@pytest.mark.anyio
async def test_a_house_lives_on_with_what_was_open(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lived(tmp_path, url) as home:
        mended = await home.fire()
        await home.over(mended)
        await home.calm()
        home.state(50)
        waiting = await home.fire("Ask", service="till")
        await home.asked(waiting)
        kept = home.app.settings
        story = await home.events(waiting)
    before = left(url, *LIBRARY)
    with monkeypatch.context() as later:
        years_later(later, 100)
        run = f"run:{mended}.1/%"
        status(url, run, "PENDING")
        assert Retention(kept, DAY_S).look(90 * DAY_S).kept == {"something of it still runs": 1}
        status(url, run, "SUCCESS")
        done = await asyncio.to_thread(Retention(kept, DAY_S).prune, 90 * DAY_S, "ann")
    assert done.erased["incidents"] == 1
    assert {name: done.erased[name] for name in ("alerts", "intents", "plans")} == {
        "alerts": 1,
        "intents": 1,
        "plans": 1,
    }
    assert done.erased["workflows"] >= 2, "the run and its action"
    after = left(url, *LIBRARY)
    assert 0 < after["workflow_status"] == before["workflow_status"] - done.erased["workflows"]

    async with lived(tmp_path, url) as home:
        now = await home.events(waiting)  # that people were told may come later than that they are asked
        assert now[: len(story)] == story, "nothing of it was touched"
        with pytest.raises(Pruned):
            await home.app.incident(mended)
        await home.app.answer(waiting, "approved", "ann")
        assert (await home.over(waiting)).status.value == "resolved"
        home.state(50)
        again = await home.fire()
        assert again != mended, "an alert whose incident was pruned opens another one"
        await home.over(again)
        database = home.app.database

        async def is_quiet() -> bool:
            return not await database.read(Workflows(database.engine).going_on)

        await eventually(is_quiet, "whatever ran has ended")
    with monkeypatch.context() as later:
        years_later(later, 1000)
        done = await asyncio.to_thread(Retention(kept, DAY_S).prune, 90 * DAY_S, "ann")
    assert done.kept == {}
    assert set(left(url, *LIBRARY).values()) == {0}
    database = Database(url)
    try:
        assert {table.name: count(database, table) for table in MADE_FOR_INCIDENTS} == {
            table.name: 0 for table in MADE_FOR_INCIDENTS
        }
        told = "select count(*) from quell_events where stream in ('incident', 'alert') and payload is not null"
        assert database.read_now(lambda c: c.execute(sa.text(told)).scalar_one()) == 3, "of each who pruned it"
    finally:
        database.close()
    report = Audit(kept).verify()
    assert (report.holds, report.checkpoints) == (True, 2)


@pytest.mark.anyio
async def test_servers_prune_by_themselves(url: str, tmp_path: Path, database: Database) -> None:
    """Several at once; whoever comes later finds nothing left."""
    for number in range(30):
        story(database, f"01old{number:02}", 100)
    kept = settings(url, tmp_path, retention={"keep": 90 * DAY_S})
    lone = App(settings(url, tmp_path), kind=Kind.SERVER)
    await lone.start()
    await lone.stop()
    assert count(database, incidents) == 30, "off unless it is said how long"
    app = App(kept, kind=Kind.SERVER)
    others = [App(kept) for _ in range(3)]
    await app.start()
    try:
        await asyncio.gather(*(other.prune(90 * DAY_S, "other") for other in others))

        async def pruned() -> bool:
            return count(database, incidents) == 0

        await eventually(pruned, "all are pruned")
    finally:
        await app.stop()
    erased = [one.payload["erased"].get("incidents", 0) for one in recorded(database)]
    assert sum(erased) == 30, "each of them once"
    assert Audit(kept).verify().holds


def test_of_two_at_once_each_incident_is_pruned_once(
    url: str, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quell.retention.BATCH", 7)
    for number in range(60):
        story(database, f"01old{number:02}", 100)
    with ThreadPoolExecutor(3) as pool:
        work = [pool.submit(Retention(settings(url, tmp_path), DAY_S).prune, 90 * DAY_S, f"p{n}") for n in range(3)]
        done = [one.result() for one in work]
    assert sum(one.erased["incidents"] for one in done) == 60
    assert sum(one.payload["erased"].get("incidents", 0) for one in recorded(database)) == 60
    assert {len(payloads(database, f"01old{number:02}")) for number in range(60)} == {3}
    assert Audit(settings(url, tmp_path)).verify().holds


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_who_is_being_written_to_is_left_alone(database: Database, retention: Retention) -> None:
    """PostgreSQL: nobody waits for him. SQLite has one writer at a time."""
    for name in ("01a", "01b"):
        story(database, name, 100)
    note = NewEvent(kind=EventKind.NOTED, payload={"text": "hm"})
    with database.engine.begin() as connection:
        events.append(connection, "t", Stream.INCIDENT, "01a", [note])
        assert retention.prune(90 * DAY_S, "ann").erased == {"incidents": 1, "payloads": 2}
    assert payloads(database, "01a")[-1] == {"text": "hm"}
    assert retention.prune(90 * DAY_S, "ann").kept == {"something happened in it since": 1}


KILLED = """
import sys, time
from pathlib import Path
from quell import retention
from quell.settings import AuditSettings, Settings
from tests.audited import faults
retention.BATCH = 5
kept = AuditSettings(folder=Path("kept"), key=Path("kept.key"))
settings = Settings(database=sys.argv[1], folder=Path(sys.argv[2]), audit=kept, tenant="t")
retention.Retention(settings, retention.DAY_S).prune(90 * retention.DAY_S, "ann", lambda e: print(e["incidents"], flush=True))
"""


def test_killed_in_the_middle_the_next_goes_on(url: str, tmp_path: Path, database: Database) -> None:
    for number in range(200):
        story(database, f"01old{number:03}", 100)
    child = subprocess.Popen([sys.executable, "-c", KILLED, url, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 20:
            break
    child.kill()
    child.wait()
    here = count(database, incidents)
    assert 0 < here < 200, "it was in the middle"
    rows = database.read_now(lambda c: c.execute(sa.select(incidents.c.id)).scalars().all())
    for number in range(200):
        name = f"01old{number:03}"
        erased = [not one for one in payloads(database, name)]
        assert erased == ([False, False] if name in rows else [True, True, False]), name
    recorded_so_far = sum(one.payload["erased"]["incidents"] for one in recorded(database))
    assert recorded_so_far == 200 - here, "what is gone was recorded, and nothing else"
    assert Audit(settings(url, tmp_path)).verify().holds
    assert Retention(settings(url, tmp_path), DAY_S).prune(90 * DAY_S, "bob").erased["incidents"] == here
    assert Audit(settings(url, tmp_path)).verify().holds


def test_what_was_freed_is_used_again(database: Database, retention: Retention) -> None:
    """The file does not grow while as much is pruned as is new. It shrinks by VACUUM alone, which nobody does unasked."""

    def size() -> int:
        if database.is_sqlite:
            database.write_now(lambda c: None)
            with database.engine.connect() as connection:
                connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
            return Path(database.engine.url.database or "").stat().st_size
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("vacuum quell_events"))  # as autovacuum does, and when it does
            return int(connection.execute(sa.text("select pg_total_relation_size('quell_events')")).scalar_one())

    long = NewEvent(kind=EventKind.NOTED, payload={"text": "".join(map(str, range(4000)))})

    def live(generation: int, days: float) -> None:
        for number in range(60):
            story(database, f"0{generation}old{number:02}", days, *[long] * 5, RESOLVED)

    live(1, 300)
    first = size()
    sizes = []
    for generation in (2, 3, 4):
        retention.prune(90 * DAY_S, "ann")
        size()
        live(generation, 300)
        sizes.append(size())
    if not database.is_sqlite:
        assert sizes[-1] < first * 1.25, (first, sizes)
        return
    # What stays of an event keeps its place on its page, which is a part of the page that it had.
    assert sizes[-1] - first < first, (first, sizes)
    retention.prune(90 * DAY_S, "ann")
    with database.engine.connect() as connection:
        connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
        connection.connection.driver_connection.execute("VACUUM")  # type: ignore[union-attr]
    assert size() < sizes[-1] / 5


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_plan_that_somebody_begins_with_stays(database: Database, retention: Retention) -> None:
    """He found that it is stored, and his run is not there yet. SQLite has one writer at a time."""
    (one,) = compile_text(MEND.replace("@/", "/"), "mend.yaml", vocabulary_of(Registry()))
    compiled = one.plan
    assert compiled is not None
    database.write_now(lambda c: store_plan(c, compiled))
    database.write_now(lambda c: c.execute(sa.update(plans).values(stored_at=now_us() - 100 * DAY_US)))
    story(database, "01old", 100)
    run = {
        "incident": "01new",
        "number": 1,
        "tenant": "t",
        "plan": compiled.hash,
        "reason": "r",
        "started_at": now_us(),
    }
    waits = sa.text(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    with ThreadPoolExecutor(1) as pool:
        with database.engine.begin() as connection:
            store_plan(connection, compiled)
            pruning = pool.submit(retention.prune, 90 * DAY_S, "ann")
            deadline = time.monotonic() + 8
            while not database.read_now(lambda c: c.execute(waits).scalar_one()) and time.monotonic() < deadline:
                time.sleep(0.02)
            connection.execute(sa.insert(runs).values(run))
        assert "plans" not in pruning.result().erased
    assert count(database, plans) == 1


def test_a_database_of_another_version_is_left_alone(database: Database, retention: Retention) -> None:
    story(database, "01old", 100)
    database.write_now(lambda c: c.execute(sa.text("update quell_version set version_num = '0001'")))
    with pytest.raises(Unavailable, match="version 0001"):
        retention.prune(90 * DAY_S, "ann")
    assert all(payloads(database, "01old"))


def test_other_rows_go_by_their_age(database: Database, retention: Retention) -> None:
    """What led to an incident that is there stays with it; what lasts is not at its end."""
    old, now = now_us() - 100 * DAY_US, now_us()
    story(database, "01open", 120, NewEvent(kind=EventKind.NOTED, payload={"text": "hm"}))
    heard = NewEvent(kind=EventKind.ALERT_RECEIVED, payload={"alert": {"name": "n"}})

    def rows(c: sa.Connection) -> None:
        for name, incident, at in (("a.free", None, old), ("a.young", None, now), ("a.open", "01open", old)):
            values = {"id": name, "tenant": "t", "source": "s", "fingerprint": name, "name": "n", "status": "firing",
                      "first_at": at, "last_at": at, "changed_at": at, "count": 1, "incident": incident, "alert": "{}",
                      "schema_version": 1}  # fmt: skip
            c.execute(sa.insert(alerts).values(values))
            for days in (150, 100, 1):
                events.append(c, "t", Stream.ALERT, name, [heard], at_us=now - days * DAY_US)
        for name, until, ended in (("p1", old, None), ("p2", now + DAY_US, old), ("p3", now + DAY_US, None)):
            c.execute(sa.insert(pauses).values(
                id=name, tenant="t", scope="all", by="b", reason="r", at=old - DAY_US, until=until, ended_at=ended
            ))  # fmt: skip
        for target, at in (("service/a", old), ("service/b", now)):
            breaker.reset(c, "t", target, at, "b", "r")
        for at in (old, now):
            row = {"tenant": "t", "source": "s", "reason": "r", "fragment": "f", "received_at": at}
            c.execute(sa.insert(quarantine).values(row))
        leases.take(c, "t", ["x"], "h", "01gone", old, 1)
        leases.take(c, "t", ["y"], "h", "01gone", now, DAY_US)

    database.write_now(rows)
    dry = retention.look(90 * DAY_S).erased
    done = retention.prune(90 * DAY_S, "ann").erased
    assert done == {"alerts": 1, "payloads": 5, "pauses": 2, "resets": 1, "quarantined": 1, "leases": 1}
    assert dry == done
    heard_of = {
        name: [bool(one.payload) for one in database.read_now(lambda c, n=name: events.read(c, "t", Stream.ALERT, n))]
        for name in ("a.free", "a.young", "a.open")
    }
    assert heard_of == {"a.free": [False, False, True], "a.young": [False, False, True], "a.open": [False, True, True]}
    assert count(database, pauses) == 1
    assert retention.prune(90 * DAY_S, "ann").erased == {}

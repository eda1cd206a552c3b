"""The audit as use cases, on SQLite and PostgreSQL, and as docs/audit.md tells others to do it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.app import App
from quell.audit import Audit, verify_bundle
from quell.engine.workers import Kind
from quell.errors import InvalidInput, NotFound, Unavailable
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.pause import Scope
from quell.settings import AuditSettings, Settings
from quell.store import events
from quell.store.database import Database, normalise_url
from quell.store.migrate import migrate
from quell.store.readonly import ReadOnly
from tests.app import eventually

PAGE = Path(__file__).parent.parent / "docs" / "audit.md"
OPENED = NewEvent(kind=EventKind.OPENED, payload={"title": "down ☠", "severity": "P1"})
NOTED = NewEvent(kind=EventKind.NOTED, payload={"text": "seen", "by": "ann"}, key="k")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Two incidents and a log of the system."""
    database = Database(url)
    migrate(database.engine)
    for name in ("01aa", "01ab"):
        database.write_now(lambda c, n=name: events.append(c, "t", Stream.INCIDENT, n, [OPENED, NOTED]))
    database.write_now(lambda c: events.append(c, "u", Stream.SYSTEM, "s", [NOTED]))
    yield database
    database.close()


@pytest.fixture
def audit(database: Database, url: str, tmp_path: Path) -> Audit:
    return Audit(settings(url, tmp_path))


def settings(url: str, folder: Path) -> Settings:
    return Settings(database=url, folder=folder, audit=AuditSettings(folder=Path("kept"), key=Path("kept.key")))


def test_checkpoints_hold_while_the_log_goes_on(audit: Audit, database: Database, tmp_path: Path) -> None:
    assert audit.checkpoint() == tmp_path / "kept" / "checkpoint-00000001.json"
    database.write_now(lambda c: events.append(c, "u", Stream.SYSTEM, "s", [OPENED]))
    assert audit.checkpoint() == tmp_path / "kept" / "checkpoint-00000002.json"
    assert audit.checkpoint() is None, "nothing has happened since"
    report = audit.verify()
    assert (report.streams, report.events, report.checkpoints, report.faults) == (3, 6, 2, [])
    for statement in ("delete from quell_events where tenant = 'u'", "delete from quell_streams where tenant = 'u'"):
        database.write_now(lambda c, s=statement: c.execute(sa.text(s)))
    assert [(fault.tenant, fault.what.value) for fault in audit.verify().faults] == [("u", "cut")]


def test_a_checkpoint_is_made_when_it_is_due(audit: Audit, database: Database) -> None:
    first = audit.checkpoint_when_due(3600.0)
    assert first is not None
    database.write_now(lambda c: events.append(c, "u", Stream.SYSTEM, "s", [OPENED]))
    assert audit.checkpoint_when_due(3600.0) is None, "the newest one is young"
    os.utime(first, (time.time() - 3601, time.time() - 3601))
    second = audit.checkpoint_when_due(3600.0)
    assert second is not None
    os.utime(second, (time.time() - 3601, time.time() - 3601))
    assert audit.checkpoint_when_due(3600.0) is None, "nothing has happened since"


def test_text_that_is_none_is_found(tmp_path: Path) -> None:
    """Only SQLite keeps such."""
    database = Database(str(tmp_path / "q.db"))
    migrate(database.engine)
    database.write_now(lambda c: events.append(c, "t", Stream.INCIDENT, "01aa", [OPENED, NOTED]))
    database.write_now(
        lambda c: c.execute(sa.text("update quell_events set actor = cast(x'ff41' as text) where seq = 2"))
    )
    database.close()
    audit = Audit(settings(str(tmp_path / "q.db"), tmp_path))
    assert [(fault.what.value, fault.seq) for fault in audit.verify().faults] == [("edited", 2)]
    (tmp_path / "pub").write_text(audit.seal().public.pem)
    assert not verify_bundle(audit.export(), tmp_path / "pub").holds


def test_a_tenant_alone(audit: Audit, database: Database, url: str, tmp_path: Path) -> None:
    audit.checkpoint()
    database.write_now(lambda c: c.execute(sa.text("delete from quell_streams where tenant = 'u'")))
    one = Audit(settings(url, tmp_path), "t")
    assert one.verify().holds
    assert not audit.verify().holds
    (tmp_path / "pub").write_text(audit.seal().public.pem)
    report = verify_bundle(one.export(), tmp_path / "pub")
    assert (report.streams, report.holds) == (2, True)


def test_an_incident_by_the_beginning_of_its_id(audit: Audit) -> None:
    assert [event.kind for event in audit.events("01ab")] == [EventKind.OPENED, EventKind.NOTED]
    assert audit.events("01aa")[0].stream_id == "01aa"
    with pytest.raises(InvalidInput, match="01aa, 01ab begin so"):
        audit.events("01a")
    for strange in ("nope", "%", "01a_"):
        with pytest.raises(NotFound):
            audit.events(strange)


def test_reading_writes_nothing(database: Database, url: str) -> None:
    with pytest.raises(Unavailable), ReadOnly(normalise_url(url)) as connection:
        connection.execute(sa.text("delete from quell_events"))
    with ReadOnly(normalise_url(url)) as connection:
        assert connection.execute(sa.text("select count(*) from quell_events")).scalar() == 5


def test_what_is_no_database_of_ours(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.db"):
        Audit(settings(str(tmp_path / "nowhere.db"), tmp_path)).verify()
    (tmp_path / "text.db").write_text("this is no database at all, but a text that is long enough to be read" * 20)
    (tmp_path / "empty.db").touch()
    for name in ("text.db", "empty.db"):
        with pytest.raises(Unavailable):
            Audit(settings(str(tmp_path / name), tmp_path)).verify()
    assert not (tmp_path / "nowhere.db").exists()


def test_others_verify_a_bundle_as_the_page_says(audit: Audit, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    audit.checkpoint()
    lines = b"".join(audit.export())
    (tmp_path / "pub").write_text(audit.seal().public.pem)
    for data, holds in ((lines, True), (lines.replace(b"down", b"fine", 1), False), (lines[:-200], False)):
        (tmp_path / "b.jsonl").write_bytes(data)
        command = [sys.executable, "-c", program, tmp_path / "b.jsonl", tmp_path / "pub"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0 and done.stdout == "holds\n") is holds, done.stderr
        assert verify_bundle(data.splitlines(keepends=True), tmp_path / "pub").holds is holds


@pytest.mark.anyio
async def test_a_server_makes_checkpoints_by_itself(url: str, tmp_path: Path) -> None:
    kept = settings(url, tmp_path)
    kept = kept.model_copy(update={"audit": kept.audit.model_copy(update={"every": 0.2})})

    def made(count: int) -> Callable[[], Awaitable[bool]]:
        async def there() -> bool:
            return len(list((tmp_path / "kept").glob("checkpoint-*.json"))) >= count

        return there

    app = App(kept, kind=Kind.SERVER)
    await app.start()
    try:
        await app.pause(Scope.ALL, "", for_s=60.0, by="ann", reason="the first thing that happens")
        await eventually(made(1), "the first is made")
        await app.pause(Scope.ALL, "", for_s=60.0, by="ann", reason="the second")
        await eventually(made(2), "what happened since is in the next")
    finally:
        await app.stop()
    report = Audit(kept).verify()
    assert report.checkpoints > 1
    assert report.holds

"""``Durable`` by itself, on both databases: what it keeps when a process is killed, and what it starts and delivers once."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from quell.engine.serial import JsonSerializer
from quell.errors import Unavailable
from tests.engine.works import HARD, did, done, elsewhere, engine, status_of, until

pytestmark = pytest.mark.anyio


async def test_an_answer_is_kept_when_the_process_is_killed(url: str, tmp_path: Path) -> None:
    """The step that had ended is not done again; the one that was going on is."""
    async with elsewhere(url, tmp_path, "one", "gated", "w"):
        await did(tmp_path, "first", "gate")
    (tmp_path / "go").touch()
    async with engine(url, tmp_path, "two") as here:
        assert here.durable.recover("one") == 1
        await here.ended("w")
        assert here.durable.recover("one") == 0
        assert done(tmp_path)[:3] == ["first", "gate", "gate"]
        [last] = done(tmp_path)[3:]
        assert last.startswith("last after ")
        assert last != f"last after {os.getpid()}", "the answer is that of the killed process"


async def test_what_is_hard_to_keep_is_kept(url: str, tmp_path: Path) -> None:
    """Integers of any size, text that is no Unicode: as near as JSON comes."""
    async with elsewhere(url, tmp_path, "one", "hard", "w"):
        await did(tmp_path, "gate")
    (tmp_path / "go").touch()
    async with engine(url, tmp_path, "two") as here:
        here.durable.recover("one")
        await here.ended("w")
    assert orjson.loads(done(tmp_path)[2]) == {
        "huge": float(2**70), "small": -float(2**70), "beyond": str(10**400), "text": "\\ud800 half",
        "list": ["\\udfff", float(2**64)], "ä": 1.5,
    }  # fmt: skip


def test_the_serializer_leaves_alone_what_json_can_say() -> None:
    kept = JsonSerializer()
    for plain in (None, True, 2**63, -(2**63), "ä\n\u2028", [1.5, {"a": []}]):
        assert kept.deserialize(kept.serialize(plain)) == plain
    assert str(kept.deserialize(kept.serialize(ValueError("no")))) == "ValueError: no"
    assert kept.deserialize(kept.serialize(HARD))["ä"] == 1.5


async def test_a_start_is_part_of_the_callers_transaction(url: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    async with engine(url, tmp_path, "one") as here:

        def begin(connection: sa.Connection, workflow_id: str, error: Exception | None) -> None:
            here.durable.start_in(connection, "gated", workflow_id, None)
            if error is not None:
                raise error

        with pytest.raises(ValueError, match="no"):
            await here.database.write(lambda c: begin(c, "rolled back", ValueError("no")))
        gone = sa.exc.OperationalError("", {}, Exception("gone"))
        with pytest.raises(Unavailable):
            await here.database.write(lambda c: begin(c, "gone", gone))
        await here.database.write(lambda c: begin(c, "committed", None))
        await here.durable.kick()
        await here.ended("committed")
        assert await here.durable.status("rolled back") is await here.durable.status("gone") is None
        assert len(done(tmp_path)) == 3


async def test_an_id_starts_once(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        for _ in range(2):
            await here.start("gated", "w")
        await did(tmp_path, "first", "gate")
        await asyncio.gather(*(here.start("gated", "w") for _ in range(5)))
        (tmp_path / "go").touch()
        await here.ended("w")
        await here.start("gated", "w")
        await here.start("gated", "other")
        await here.ended("other")
        assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "last"] * 2


async def test_a_message_is_delivered_once_per_key(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("asks", "w", 60.0)
        await did(tmp_path, "asked")
        for key in ("a", "a", "b", "a"):
            await here.durable.send("w", f"by {key}", topic="answer", key=key)
        await here.durable.send("w", "stop", topic="answer", key="last")
        await here.ended("w")
        assert sorted(done(tmp_path)) == ["asked", "ended", "got by a", "got by b"]


async def test_a_message_reaches_a_workflow_that_waits_elsewhere(url: str, tmp_path: Path) -> None:
    async with elsewhere(url, tmp_path, "one", "asks", "w", 60.0):
        await did(tmp_path, "asked")
        async with engine(url, tmp_path, "two") as here:
            for _ in range(2):
                await here.durable.send("w", "yes", topic="answer", key="a")
            await here.durable.send("w", "stop", topic="answer", key="last")
            await here.ended("w")
            assert done(tmp_path) == ["asked", "got yes", "ended"]
            assert here.works.endings == [], "it ran there"


@pytest.mark.parametrize(("workflow", "lines"), [("asks", ["asked", "ended"]), ("naps", ["asleep", "awake"])])
async def test_a_deadline_survives_a_restart(url: str, tmp_path: Path, workflow: str, lines: list[str]) -> None:
    """What was to end while nobody lived ends at once in the next process, not after its whole time again."""
    seconds = 600.0
    async with elsewhere(url, tmp_path, "one", workflow, "w", seconds):
        await did(tmp_path, lines[0])
        kept = await the_end_of_the_wait(url)
    assert abs(kept - (time.time() + seconds)) < seconds / 2
    move_the_end(url, time.time() - 1)
    async with engine(url, tmp_path, "two") as here:
        here.durable.recover("one")
        await here.ended("w")
    assert done(tmp_path) == lines


OUTPUTS = {"sqlite": "operation_outputs", "postgresql": "dbos.operation_outputs"}


def plain_engine(url: str) -> sa.Engine:
    return sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://") if "://" in url else f"sqlite:///{url}"
    )


async def the_end_of_the_wait(url: str) -> float:
    """The moment that is kept on disk, once it is."""
    found = plain_engine(url)
    query = f"select output from {OUTPUTS[found.dialect.name]} where function_name = 'DBOS.sleep'"
    kept: list[str] = []

    async def there() -> bool:
        with found.connect() as connection:
            kept.extend(connection.exec_driver_sql(query).scalars())
        return bool(kept)

    await until(there, "the end of the wait is on disk")
    found.dispose()
    return float(orjson.loads(kept[0]))


def move_the_end(url: str, moment: float) -> None:
    """As if the time had passed while nobody lived."""
    found = plain_engine(url)
    change = sa.text(f"update {OUTPUTS[found.dialect.name]} set output = :o where function_name = 'DBOS.sleep'")
    with found.begin() as connection:
        connection.execute(change, {"o": str(moment)})
    found.dispose()


async def test_a_kick_starts_at_once(tmp_path: Path, url: str) -> None:
    """Without waiting for a poll: here nothing polls within the test's time."""
    async with engine(url, tmp_path, "one", poll_s=3600.0) as here:
        await here.start("gated", "w")
        await did(tmp_path, "first", "gate")
        (tmp_path / "go").touch()
        await here.ended("w")


async def test_a_step_that_ends_after_the_shutdown_is_cancelled_and_not_failed(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("gated", "w")
        await did(tmp_path, "first", "gate")
        await here.durable.shutdown()
        (tmp_path / "go").touch()
        await until(lambda: asyncio.sleep(0, here.works.endings), "the end of the step")
        assert here.works.endings == ["CancelledError"]
        assert status_of(here.database, "w") == "PENDING"
    async with engine(url, tmp_path, "two") as here:
        here.durable.recover("one")
        await here.ended("w")
        assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "gate", "last"]


@pytest.mark.parametrize("whose", ["its own", "another process", "another claim"])
async def test_who_has_lost_its_work_does_not_act(url: str, tmp_path: Path, whose: str) -> None:
    """As after a silence that was too long: the work is somebody else's, and the old execution wakes up."""
    async with engine(url, tmp_path, "one", poll_s=60.0) as here:
        await here.start("acts", "w")
        await did(tmp_path, "asked")
        schema = "" if here.database.is_sqlite else "dbos."
        change = {"its own": None, "another process": "executor_id = 'two'", "another claim": "owner_xid = 'x'"}[whose]
        if change is not None:
            taken = sa.text(f"update {schema}workflow_status set {change} where workflow_uuid = 'w'")
            await here.database.write(lambda c: c.execute(taken))
        await here.durable.send("w", "yes", topic="answer", key="k")

        async def over() -> bool:
            return bool(here.works.endings)

        await until(over, "the execution ends")
        assert ("acted" in done(tmp_path)) is (whose == "its own")


# Places. The queues are polled once a minute here: whatever begins sooner was begun because a place was free.


async def test_who_finds_no_place_waits_and_the_first_that_is_free_is_the_most_urgents(
    url: str, tmp_path: Path
) -> None:
    async with engine(url, tmp_path, "one", poll_s=60.0, places=1) as here:
        await here.start("works", "w", "first", priority=4)
        await did(tmp_path, "began first")
        for name, priority in (("third", 3), ("second", 1), ("fourth", 3)):
            await here.start("works", name, name, priority=priority)
        assert await here.durable.status("second") == "ENQUEUED"
        assert (here.durable.places.taken, here.durable.places.free) == (1, 0)
        for name in ("first", "second", "third", "fourth"):
            (tmp_path / name).touch()
        await did(tmp_path, *(f"{what} {name}" for name in ("first", "second", "third", "fourth")
                              for what in ("began", "ended")))  # fmt: skip
        await here.ended("fourth")


@pytest.mark.parametrize("workflow", ["waits", "calls", "dozes"])
async def test_who_waits_keeps_nobody_from_a_place(url: str, tmp_path: Path, workflow: str) -> None:
    async with engine(url, tmp_path, "one", poll_s=60.0, places=1) as here:
        await here.start(workflow, "w", "patient")
        await did(tmp_path, "dozing patient" if workflow == "dozes" else "asked patient")

        async def has_left() -> bool:
            return here.durable.places.taken == 0

        await until(has_left, "it waits")  # what is started in that very moment is found at the next look
        await here.start("works", "urgent", "urgent")
        await did(tmp_path, done(tmp_path)[0], "began urgent")
        (tmp_path / "patient").touch()
        if workflow != "dozes":  # it goes on at once, although the only place is taken
            waiting = "waits patient" if workflow == "calls" else "w"
            await here.durable.send(waiting, "yes", topic="answer", key="k")
        await here.ended("w")
        assert await here.durable.status("urgent") == "PENDING"
        (tmp_path / "urgent").touch()
        await here.ended("urgent")


async def test_what_needs_no_place_begins_although_none_is_free(url: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    async with engine(url, tmp_path, "one", poll_s=60.0, places=1) as here:
        await here.start("works", "w", "busy")
        await did(tmp_path, "began busy")
        await here.start("gated", "page")
        await here.ended("page")


async def test_what_one_process_has_no_place_for_another_takes(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", places=1) as here, elsewhere(url, tmp_path, "two"):
        await here.start("works", "w", "mine")
        await here.start("works", "x", "theirs")
        await did(tmp_path, "began mine", "began theirs")
        (tmp_path / "theirs").touch()
        await here.ended("x")
        assert await here.durable.status("w") == "PENDING"


async def test_who_waited_in_a_process_that_died_waits_in_another_without_a_place(url: str, tmp_path: Path) -> None:
    """The caller and whom it called come back each for itself, and both wait."""
    async with elsewhere(url, tmp_path, "one", "calls", "w", "patient"):
        await did(tmp_path, "asked patient")
    async with engine(url, tmp_path, "two", poll_s=60.0, places=1) as here:
        here.durable.recover("one")
        await here.durable.kick_recovered()

        async def resting() -> bool:
            return here.works.running == {"calls", "waits"} and here.durable.places.taken == 0

        await until(resting, "both are here and wait")
        await here.start("works", "urgent", "urgent")

        async def began() -> bool:  # whether it had asked was perhaps not kept, so it may have asked again
            return done(tmp_path)[-1] == "began urgent"

        await until(began, "the urgent one begins")
        (tmp_path / "urgent").touch()
        await here.ended("urgent")

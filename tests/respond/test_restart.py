"""kill -9 in the middle of everything: the next process finishes what was begun, and nothing is done twice by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quell.incident.action import Asks
from quell.incident.event import EventKind
from quell.incident.incident import Status
from tests.app import VERIFY, WITHIN_S, House, do, doomed, eventually, house, runbook, write
from tests.fakes.effects import EffectLog
from tests.fakes.serving import FakeServer, Fault, Reply, Request
from tests.respond.test_interpreter import SLOW, gate

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
ONE = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"


class Flags(FakeServer):
    """One flag behind an address; setting it is an effect, and heals unless it does not."""

    def __init__(self, folder: Path, *, heals: bool = True) -> None:
        super().__init__()
        self.folder, self.value, self.heals = folder, "closed", heals
        self.effects = EffectLog(folder / "flag-effects")

    def answer(self, request: Request) -> Reply:
        if request.method == "PUT":
            self.value = request.json()["value"]
            self.effects.append({"value": self.value})
            if self.heals:
                (self.folder / "state").write_text("0")
        return Reply.of({"value": self.value})


async def lines(path: Path, count: int = 1) -> None:
    """Until the file has that many lines."""

    async def there() -> bool:
        return path.exists() and len(path.read_text().splitlines()) >= count

    await eventually(there, f"{count} lines in {path.name}")


async def test_killed_during_a_check(tmp_path: Path) -> None:
    gate(tmp_path)
    book = runbook(FIX, ONE, diagnostics=SLOW)
    write(tmp_path, book)
    async with doomed(tmp_path) as seen:
        incident = await seen("check.finished")
    (tmp_path / "go").touch()
    async with house(tmp_path, book) as home:
        now = await home.over(incident)
        assert (now.status, home.effects) == (Status.RESOLVED, ["fix"])
        found = await home.told_of(incident, EventKind.CHECK_FINISHED)
        assert sorted(one["finding"]["check"] for one in found) == ["slow", "state"]


async def test_killed_during_an_action_that_may_not_be_repeated(tmp_path: Path, database: str) -> None:
    """The effect is there, its outcome is not: it is told as unknown, and a person says what is true."""
    book = runbook(
        FIX + "\n- {condition: state.value > 20, then: [other]}",
        f"- {{id: fix, type: automated, action: {do('fix', 60, 2)}}}\n- {{id: other, type: automated, action: {do('other', 0)}}}",
    )
    write(tmp_path, book)
    async with doomed(tmp_path, database) as seen:
        incident = await seen("action.intended")
        await lines(tmp_path / "effects")
    async with house(tmp_path, book, database=database) as home:
        asked = await home.asked(incident)
        now = await home.app.incident(incident)
        assert home.effects == ["fix"]
        assert [deed.result for deed in now.deeds.values()] == ["unknown"]
        assert asked.asks is Asks.HAPPENED
        held = await home.app.database.read(
            lambda c: list(c.exec_driver_sql("select holder from quell_leases").scalars())
        )
        assert set(held) == set(now.deeds), "what may still be going on keeps its target"
        await eventually(lambda: seen_state(tmp_path, "60"), "the orphan has ended")
        await home.app.answer(incident, "failed", "anna", "the host rebooted")
        assert (await home.over(incident)).status is Status.RESOLVED
        assert home.effects == ["fix", "other"]


async def seen_state(folder: Path, value: str) -> bool:
    return (folder / "state").read_text().strip() == value


@asynccontextmanager
async def killed_while_setting(folder: Path, flags: Flags, step: str = "") -> AsyncIterator[tuple[House, str]]:
    """The house that goes on, and the incident whose action had its effect when the one before was killed."""
    flags.inject(Fault.slow(WITHIN_S, method="PUT", times=1, acts=True))
    more = f"connections: {{flags: {{type: http, url: '{flags.url}'}}}}\n"
    book = runbook(
        FIX,
        f"- {{id: fix, type: automated, action: {{type: set_flag, config: {{flag: breaker, value: open, connection: flags}}}}{step}}}",
    )
    write(folder, book)
    async with doomed(folder, more=more) as seen:
        incident = await seen("action.intended")
        await lines(folder / "flag-effects")
    assert flags.value == "open"
    async with house(folder, book, more=more) as home:
        yield home, incident
    flags.clear()


async def test_killed_during_an_action_that_may_be_repeated(tmp_path: Path) -> None:
    with Flags(tmp_path) as flags:
        async with killed_while_setting(tmp_path, flags) as (home, incident):
            now = await home.over(incident)
            assert (now.status, flags.value) == (Status.RESOLVED, "open")
            assert [deed.result for deed in now.deeds.values()] == ["done"]
            kinds = [event.kind for event in await home.events(incident)]
            assert kinds.count(EventKind.ACTION_INTENDED) == kinds.count(EventKind.ACTION_FINISHED) == 1


async def test_what_was_repeated_is_taken_back_to_what_was_there_before_the_crash(tmp_path: Path) -> None:
    """The repetition finds the new value, set before the crash: that is not what the undo goes back to."""
    with Flags(tmp_path, heals=False) as flags:
        undo = ", undo: {on: [worse, unchanged]}"
        async with killed_while_setting(tmp_path, flags, undo) as (home, incident):
            now = await home.over(incident)
            assert (now.verdict, flags.value) == ("unchanged", "closed")


async def test_killed_during_the_verification(tmp_path: Path) -> None:
    book = runbook(
        FIX, f"- {{id: fix, type: automated, action: {do('fix', 20)}}}", verify=VERIFY.replace("1.5s", "30s")
    )
    write(tmp_path, book)
    async with doomed(tmp_path) as seen:
        incident = await seen("verification.started")
    (tmp_path / "state").write_text("0")
    async with house(tmp_path, book) as home:
        now = await home.over(incident)
        assert (now.status, home.effects) == (Status.RESOLVED, ["fix"])
        kinds = [event.kind for event in await home.events(incident)]
        assert kinds.count(EventKind.VERIFICATION_STARTED) == kinds.count(EventKind.VERIFICATION_FINISHED) == 1


async def test_killed_while_an_approval_waits(tmp_path: Path, database: str) -> None:
    book = runbook(FIX, ONE.replace("type: automated", "type: automated, requires_approval: true", 1))
    write(tmp_path, book)
    async with doomed(tmp_path, database) as seen:
        incident = await seen("approval.requested")
    async with house(tmp_path, book, database=database) as home:
        await home.app.answer(incident, "approved", "anna")
        now = await home.over(incident)
        assert (now.status, home.effects) == (Status.RESOLVED, ["fix"])


async def test_killed_right_after_the_alert_was_taken_in(tmp_path: Path) -> None:
    """What a receipt was given for is on the disk."""
    book = runbook(FIX, ONE)
    write(tmp_path, book)
    async with doomed(tmp_path) as seen:
        incident = await seen("run.started")
    async with house(tmp_path, book) as home:
        now = await home.until(incident, lambda now: now.outcome or now.waiting)
        if now.outcome:
            assert (now.outcome, home.effects) == ("resolved", ["fix"])
        else:
            assert "unknown" in {deed.result for deed in now.deeds.values()}
            assert len(home.effects) <= 1

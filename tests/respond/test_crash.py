"""kill -9 at every named point: nothing is lost, nothing is done twice by itself, and what nobody knows is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.incident.action import Asks
from quell.incident.event import Event, EventKind
from quell.incident.incident import Incident, Status, fold
from quell.store import queries
from tests.app import House, alert, do, eventually, house, runbook, write
from tests.audited import faults
from tests.respond.crash import AFTER_EFFECT, AFTER_INTENT, DURING_EFFECT, POINTS, after, before, died_at
from tests.respond.test_restart import Flags

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
K = EventKind
SHORT = os.environ.get("QUELL_STORM") == "short"
WALKS = [("sqlite", "idempotent"), ("postgresql", "non-idempotent")]
if not SHORT:
    WALKS += [("sqlite", "non-idempotent"), ("postgresql", "idempotent")]


@dataclass(frozen=True)
class Kind:
    """An action that may be repeated or not, with a target that keeps each effect on disk."""

    folder: Path
    idempotent: bool
    more: str = ""
    act: str = ""

    @property
    def effects(self) -> int:
        path = self.folder / ("flag-effects" if self.idempotent else "effects")
        return len(path.read_text().splitlines()) if path.exists() else 0

    def book(self, rest: str = "") -> str:
        return runbook(FIX, f"- {{id: fix, type: automated, action: {self.act}{rest}}}")


@pytest.fixture(params=["non-idempotent", "idempotent"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "non-idempotent":
        yield Kind(tmp_path, False, act=do("fix", 0))
        return
    with Flags(tmp_path) as flags:
        yield Kind(
            tmp_path, True, more=f"connections: {{flags: {{type: http, url: '{flags.url}'}}}}\n",
            act="{type: set_flag, config: {flag: breaker, value: open, connection: flags}}",
        )  # fmt: skip


async def is_sound(home: House, incident: str) -> None:
    """The chain holds, the row is the fold of the events, and the target has been given back."""
    database = home.app.database

    def look(connection: sa.Connection) -> tuple[Incident, list[Event], list[str]]:
        known = queries.incident(connection, incident)
        told = queries.timeline(connection, known.tenant, known.id)
        return known, told, list(connection.exec_driver_sql("select holder from quell_leases").scalars())

    known, told, leased = await database.read(look)
    told = [event for event in told if event.seq <= known.seq]
    assert fold(told) == known
    assert (faults(database), leased) == ([], [])


@pytest.mark.parametrize("kind", ["non-idempotent", pytest.param("idempotent", marks=pytest.mark.long)], indirect=True)
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_point_of_the_action(tmp_path: Path, database: str, kind: Kind, point: str) -> None:
    act = do("fix", 0, 1) if point == DURING_EFFECT and not kind.idempotent else kind.act
    book = runbook(FIX, f"- {{id: fix, type: automated, action: {act}}}")
    write(tmp_path, book)

    async def effect() -> bool:
        return kind.effects > 0

    seen = effect if point == DURING_EFFECT else None
    await died_at(tmp_path, database, kind.more, point, fires=True, seen=seen)
    before_restart = kind.effects
    async with house(tmp_path, book, state=50 if kind.effects == 0 else 0, database=database, more=kind.more) as home:
        [incident] = [one.id for one in await home.app.incidents()]
        unknown = not kind.idempotent and point in (AFTER_INTENT, DURING_EFFECT, AFTER_EFFECT)
        if unknown:
            asked = await home.asked(incident)
            assert asked.asks is Asks.HAPPENED
            assert kind.effects == before_restart, "nothing acts by itself while nobody knows"
            if kind.effects:
                await home.app.answer(incident, "approved", "anna", "the log of the target says so")
            else:
                await home.app.answer(incident, "failed", "anna", "the target never heard of it")
        if unknown and not before_restart:
            assert ((await home.escalated(incident)).status, kind.effects) == (Status.ESCALATED, 0)
        else:
            assert (await home.over(incident)).status is Status.RESOLVED
            assert kind.effects == 1 if not kind.idempotent else 1 <= kind.effects <= 2
        await is_sound(home, incident)


WALK = [
    after(K.RUN_STARTED), before(K.CHECK_FINISHED), after(K.CHECK_FINISHED), before(K.DECIDED), after(K.DECIDED),
    before(K.APPROVAL_REQUESTED), after(K.APPROVAL_REQUESTED), before(K.APPROVAL_ANSWERED), after(K.APPROVAL_ANSWERED),
    before(K.ACTION_INTENDED), before(K.ACTION_FINISHED), after(K.ACTION_FINISHED), before(K.VERIFICATION_STARTED),
    after(K.VERIFICATION_STARTED), before(K.VERIFICATION_FINISHED), after(K.VERIFICATION_FINISHED), before(K.RESOLVED),
    before(K.RUN_ENDED),
]  # fmt: skip
"""Before and after each event of one incident, in the order in which they happen. After ``action.intended`` nobody
knows: that is the test above."""


@pytest.mark.storm
@pytest.mark.parametrize(("database", "kind"), WALKS, indirect=True)
async def test_one_incident_survives_a_crash_before_and_after_each_of_its_events(
    tmp_path: Path, database: str, kind: Kind
) -> None:
    book = kind.book(", requires_approval: true")
    write(tmp_path, book)
    # What was done is told with its outcome: before that nobody knows of one that may not be repeated.
    walk = [point for point in WALK if kind.idempotent or point != before(K.ACTION_FINISHED)]
    for number, point in enumerate(walk):
        await died_at(tmp_path, database, kind.more, point, fires=number == 0)
    async with house(tmp_path, book, state=0, database=database, more=kind.more) as home:
        [incident] = [one.id for one in await home.app.incidents()]
        now = await home.over(incident)
        assert (now.status, kind.effects) == (Status.RESOLVED, 1)
        assert [deed.result for deed in now.deeds.values()] == ["done"]
        await is_sound(home, incident)
        kinds = [event.kind for event in await home.events(incident)]
        once = {K.OPENED, K.RUN_STARTED, K.DECIDED, K.APPROVAL_REQUESTED, K.APPROVAL_ANSWERED, K.ACTION_INTENDED,
                K.ACTION_FINISHED, K.VERIFICATION_STARTED, K.VERIFICATION_FINISHED, K.RESOLVED, K.RUN_ENDED}  # fmt: skip
        assert {one: kinds.count(one) for one in once} == dict.fromkeys(once, 1)


async def test_an_alert_whose_sender_heard_no_answer_is_sent_again_and_there_once(
    tmp_path: Path, database: str
) -> None:
    """The two sides of the 2xx: cut off before the commit it never was there; after it, it is."""
    book = runbook(FIX, f"- {{id: fix, type: automated, action: {do('fix', 0)}}}")
    write(tmp_path, book)
    await died_at(tmp_path, database, "", before(K.OPENED), fires=True)
    async with house(tmp_path, book, database=database) as home:
        assert await home.app.incidents() == []
    await died_at(tmp_path, database, "", after(K.OPENED), fires=True)
    async with house(tmp_path, book, database=database) as home:
        [there] = await home.app.incidents()
        await home.post(alert())
        assert [one.id for one in await home.app.incidents()] == [there.id]
        await eventually(lambda: _is_over(home, there.id), "it is handled")
        assert home.effects == ["fix"]


async def _is_over(home: House, incident: str) -> bool:
    return (await home.app.incident(incident)).outcome is not None

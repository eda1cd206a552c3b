"""The hub: what people do by hand, what it says when they cannot, and that stopping loses nothing."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from quell.app import App
from quell.engine.tables import executors
from quell.errors import Conflict, InvalidInput, NotFound, QuellError, Unavailable
from quell.incident.event import EventKind
from quell.incident.incident import Status
from quell.web import pages, paging
from quell.web.pages import list_regions, page_regions
from tests.app import alert, do, eventually, house, runbook, settings_of, write

pytestmark = pytest.mark.anyio

FIX = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
NONE = runbook("- {condition: state.value > 900, then: [fix]}", FIX)
BOOK = runbook("- {condition: state.critical, then: [fix]}", FIX)


async def test_a_beginning_of_an_id_is_enough_when_it_is_the_only_one(tmp_path: Path) -> None:
    async with house(tmp_path, NONE) as home:
        incident = await home.fire()
        assert (await home.app.incident(incident[:8])).id == incident
        for name in ("", "zzz", incident + "x", "%", "_" * 12):
            with pytest.raises(NotFound):
                await home.app.incident(name)
        await home.fire("Other")
        with pytest.raises(NotFound):
            await home.app.incident(incident[:2])


async def test_what_has_ended_cannot_be_taken_or_resolved_again(tmp_path: Path) -> None:
    async with house(tmp_path, NONE) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert (await home.app.resolve(incident, "anna", "it was the cable")).reason == "it was the cable"
        for again in (home.app.resolve, home.app.take, home.app.give_back):
            with pytest.raises(Conflict, match="already resolved: it was the cable"):
                await again(incident, "ben")
        assert (await home.app.incident(incident)).reason == "it was the cable"


async def test_taking_and_giving_back(tmp_path: Path) -> None:
    async with house(tmp_path, NONE) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert (await home.app.take(incident, "anna")).assignee == "anna"
        assert (await home.app.take(incident, "anna")).assignee == "anna"
        assert (await home.app.give_back(incident, "anna")).assignee is None
        assert (await home.app.take(incident, "ben")).assignee == "ben"


async def test_take_stops_an_action_that_has_not_begun(tmp_path: Path) -> None:
    """A human is already at it: nothing new starts."""
    slow = runbook("- {condition: state.critical, then: [one, two]}", "".join(
        f"- {{id: {name}, type: automated, action: {do(name, 50, 1 if name == 'one' else 0)}}}\n" for name in ("one", "two")
    ))  # fmt: skip
    async with house(tmp_path, slow) as home:
        incident = await home.fire()
        await home.until(incident, lambda now: now.deeds and home.effects)
        await home.app.take(incident, "anna")
        now = await home.over(incident)
        assert home.effects == ["one"]
        assert [one["rule"] for one in now.refusals] == ["taken"]


async def test_a_runbook_by_hand(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as home:
        started = await home.app.trigger("down", actor="anna")
        now = await home.over(started.incident)
        assert (now.status, home.effects) == (Status.RESOLVED, ["fix"])
        opened = (await home.events(started.incident, EventKind.OPENED))[0]
        assert (opened.actor, opened.payload["runbook_why"]) == ("anna", "started by anna")
        with pytest.raises(NotFound, match="did you mean 'down'"):
            await home.app.trigger("dwon")


async def test_a_broken_runbook_does_not_stop_the_others(tmp_path: Path) -> None:
    async with house(tmp_path, [BOOK, "id: broken\ntriggers: [{type: alert}]\n", "][", BOOK], sound=False) as home:
        assert list(home.app.library.plans) == ["down"]
        assert len(home.app.library.broken) == 3
        assert (await home.over(await home.fire())).outcome == "resolved"


async def test_runbooks_are_read_again_and_running_incidents_keep_theirs(tmp_path: Path) -> None:
    asking = BOOK.replace("type: automated", "type: automated, requires_approval: true", 1)
    async with house(tmp_path, asking) as home:
        incident = await home.fire()
        await home.asked(incident)
        before = (await home.app.incident(incident)).plan
        write(tmp_path, NONE)
        await home.app.reload()
        assert home.app.library.plans["down"].hash != before
        await home.app.answer(incident, "approved", "anna")
        assert (await home.over(incident)).outcome == "resolved"
        plan = await home.app.plan_of(await home.app.incident(incident))
        assert plan is not None
        assert plan.hash == before


async def test_several_waiting_approvals_must_be_named(tmp_path: Path) -> None:
    async with house(tmp_path, NONE) as home:
        incident = await home.fire()
        await home.escalated(incident)
        with pytest.raises(NotFound, match="waiting approval"):
            await home.app.answer(incident, "approved", "anna")


async def test_listeners_hear_every_event_in_order(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as home:
        incident = await home.fire()
        await home.over(incident)
        await home.until(incident, lambda now: sum(one.stream_id == incident for one in home.told) == now.seq, "told")
        heard = [(event.seq, event.kind) for event in home.told if event.stream_id == incident]
        assert heard == [(event.seq, event.kind) for event in await home.events(incident)]
        newest, changed = await home.app.changed(0)
        assert changed == {incident}
        assert await home.app.changed(newest) == (newest, set())


async def test_stopping_in_the_middle_of_writing_ends(tmp_path: Path) -> None:
    async with house(tmp_path, NONE) as home:
        posts = [asyncio.ensure_future(home.post(alert(replica=str(n)))) for n in range(40)]
        await asyncio.sleep(0)
        for post in posts[::2]:
            post.cancel()
        await asyncio.gather(*posts, return_exceptions=True)
        assert (await asyncio.wait_for(home.post(alert("Still")), 10)).accepted == 1
    async with house(tmp_path, NONE) as home:
        assert (await home.app.incidents()) != []


async def test_an_app_that_was_declared_dead_enters_again(tmp_path: Path) -> None:
    """After a sleep of the machine: whoever is alive again must be found when it dies for good."""
    async with house(tmp_path, NONE) as home:
        me = home.app.executor_id
        gone = sa.update(executors).where(executors.c.id == me).values(ended_at=1)
        await home.app.database.write(lambda c: c.execute(gone))

        async def alive() -> bool:
            query = sa.select(executors.c.ended_at).where(executors.c.id == me)
            return await home.app.database.read(lambda c: c.execute(query).scalar()) is None

        await eventually(alive, "its return")


async def test_a_database_that_cannot_be_opened_is_said_to_be_away(tmp_path: Path) -> None:
    app = App(settings_of(tmp_path, database=str(tmp_path / "no" / "such" / "q.db")))
    with pytest.raises(Unavailable):
        await app.start()


async def test_a_secret_that_is_not_there_stops_the_start_and_names_the_reference(tmp_path: Path) -> None:
    more = "connections: {pg: {type: postgresql, url: 'postgresql://x', password: 'env:NO_SUCH_SECRET'}}\n"
    app = App(settings_of(tmp_path, more=more))
    with pytest.raises(InvalidInput, match="NO_SUCH_SECRET"):
        await app.start()


async def test_guardrails_for_an_action_that_does_not_exist_are_refused(tmp_path: Path) -> None:
    """A rule under a misspelt name would protect nothing; one under an alias means the action."""
    wrong = App(settings_of(tmp_path, more="guardrails: {actions: {run_scirpt: {allow: false}}}\n"))
    with pytest.raises(QuellError, match="run_script"):
        await wrong.start()
    wrong = App(settings_of(tmp_path, more="guardrails: {actions: {scale_up: {parameters: {byy: {max: 3}}}}}\n"))
    with pytest.raises(QuellError, match=r"scale_up\.parameters\.byy"):
        await wrong.start()
    async with house(tmp_path, BOOK, more="guardrails: {actions: {script: {allow: false}}}\n") as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert home.effects == []


async def test_an_old_incident_that_is_open_is_not_hidden_by_newer_ones_that_ended(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as home:
        (old,) = (await home.post(alert("Nobody", service="x"))).incidents
        newer = [(await home.post(alert(f"Other{n}", service="y"))).incidents[0] for n in range(51)]
        for one in newer:
            await home.app.resolve(one, "anna")
        assert old not in [one.id for one in await home.app.incidents()]
        assert [one.id for one in await home.app.incidents(ended=False)] == [old]
        _, regions = await list_regions(home.app, None)
        told = [one for one in newer if one in regions["list"]]
        assert len(told) == 14
        assert regions["list"].index(old) < min(map(regions["list"].index, told))
        assert "37 more" in regions["list"]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
async def test_page_by_page_each_incident_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:  # fmt: skip
    """Those that are open first; however many there are of either."""
    monkeypatch.setattr(pages, "PAGE_ROWS", rows)
    async with house(tmp_path, BOOK) as home:
        names = [(await home.post(alert(f"Nobody{n}", service="x"))).incidents[0] for n in range(7)]
        for one in names[1::2]:
            await home.app.resolve(one, "anna")
        seen, link = list[str](), "/?all=1"
        for _ in names:
            asked = parse_qs(urlsplit(link).query)
            start = paging.read(asked.get("before", [""])[0])
            regions = await page_regions(home.app, None, start, ended="ended" in asked)
            found = re.findall(r'href="/incidents/([^"]+)"', regions["list"])
            assert 0 < len(found) <= rows
            seen += found
            if (next_page := re.search(r'href="(/\?all=1[^"]*)"', regions["list"])) is None:
                break
            link = unescape(next_page[1])
        assert seen == [*names[::-2], *names[-2::-2]]

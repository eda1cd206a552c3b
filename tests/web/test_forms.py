"""Forms in general: once for two clicks, typed text that stays, pages of other sites that are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from quell.errors import InvalidInput, NotFound, Problem
from quell.web.forms import Sent, Wrong
from tests.web.formed import HTML, filled, form_of
from tests.web.house import House
from tests.web.served import Served

PATHS = ("/guardrails", "/tokens", "/past")


@pytest.mark.anyio
async def test_two_clicks_are_one_act_and_both_get_its_result() -> None:
    sent, acts, go = Sent(), list[str](), asyncio.Event()

    async def act() -> str:
        acts.append("once")
        await go.wait()
        return f"result {len(acts)}"

    first, second = asyncio.create_task(sent.once("a", act)), asyncio.create_task(sent.once("a", act))
    await asyncio.sleep(0)
    first.cancel()  # whoever clicked twice has left the first answer
    go.set()
    assert await second == "result 1"
    assert await sent.once("a", act) == "result 1", "a moment later too"
    assert await sent.once("b", act) == "result 2", "another form is another act"


@pytest.mark.anyio
async def test_what_failed_may_be_sent_again_and_what_was_done_is_forgotten() -> None:
    sent, fails = Sent(remembered_s=0.0), True

    async def act() -> str:
        if fails:
            raise NotFound("pause", "x")
        return "done"

    for _ in range(2):
        with pytest.raises(NotFound):
            await sent.once("a", act)
    fails = False
    assert await sent.once("a", act) == "done"
    async with asyncio.timeout(10):
        while len(sent):
            await asyncio.sleep(0)


def test_what_is_wrong_is_told_by_its_fields() -> None:
    wrong = Wrong("pause", "", {}, InvalidInput([Problem("why?", path="reason"), Problem("who?")]))
    assert (wrong.fields, wrong.status, wrong.at("pause"), wrong.at("pause", "x")) == ({"reason"}, 422, True, False)
    missing = Wrong("resume", "x", {}, NotFound("pause", "x"))
    assert (missing.fields, missing.problems, missing.said, missing.status) == (set(), (), "no pause 'x'", 404)


@pytest.mark.parametrize("path", PATHS)
def test_a_form_that_is_not_ours_is_refused(house: House, path: str) -> None:
    with httpx.Client(base_url=house.url, timeout=30) as browser:
        browser.get(path, headers=HTML)
        for csrf in ({}, {"csrf": ""}, {"csrf": "forged"}):
            answer = browser.post(path, data={"do": "pause", **csrf})
            assert (answer.status_code, answer.json()["rule"]) == (403, "csrf")
        foreign = browser.post(path, data={}, headers={"origin": "http://evil.example"})
        assert foreign.json()["rule"] == "csrf"


@pytest.mark.parametrize("path", PATHS)
def test_a_form_that_nobody_knows_is_not_there(house: House, path: str) -> None:
    with httpx.Client(base_url=house.url, timeout=30) as browser:
        browser.get(path, headers=HTML)
        body = {"do": "dance", "csrf": browser.cookies["quell_csrf"], "by": "Ines"}
        answer = browser.post(path, data=body)
        assert (answer.status_code, answer.json()["error"]) == (404, "no form 'dance'")


def test_two_clicks_in_two_processes_are_one_pause(tmp_path: Path, postgres_url: str) -> None:
    settings = tmp_path / "quell.yaml"
    settings.write_text(f"database: {postgres_url}\n")
    with Served(settings) as here, Served(settings) as there, httpx.Client(timeout=60) as browser:
        page = browser.get(f"{here.url}/guardrails", headers=HTML).text
        form = {**form_of(page, "pause"), "reason": "we move", "by": "Ines"}
        for served in (here, there, here):
            answer = browser.post(f"{served.url}/guardrails", data=form, headers=HTML)
            assert (answer.status_code, answer.headers["location"]) == (303, "/guardrails")
        assert len(browser.get(f"{there.url}/api/v1/pauses").json()["pauses"]) == 1
        page = browser.get(f"{there.url}/guardrails", headers=HTML).text
        browser.post(f"{there.url}/guardrails", data={**form, "once": form_of(page, "pause")["once"]}, headers=HTML)
        assert len(browser.get(f"{here.url}/api/v1/pauses").json()["pauses"]) == 2, "a page loaded anew is another form"


def test_the_name_is_remembered_for_the_next_form(house: House) -> None:
    with httpx.Client(base_url=house.url, timeout=30) as browser:
        form = filled(browser, "/guardrails", "pause", scope="all", reason="we move", by="Zoë Ünal")
        browser.post("/guardrails", data=form, headers=HTML)
        (pause,) = house.http.get("/api/v1/pauses").json()["pauses"]
        page = browser.get("/guardrails", headers=HTML).text
        assert form_of(page, "resume", pause["id"])["by"] == "Zoë Ünal"
        house.http.post("/api/v1/pauses/resume", json={"by": "Ines"})

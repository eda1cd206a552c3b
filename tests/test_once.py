"""One effect for each key, whatever a use case results in; what goes on behind it has no key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from quell.errors import Conflict, InvalidInput
from quell.incident.event import Event
from quell.incident.matcher import parse_matchers
from quell.incident.pause import Scope
from quell.once import MOST_TOLD, Answer, Keyed, asked
from quell.store import requests
from tests.app import House, alert, do, house, runbook

BOOK = runbook("- {condition: state.critical, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}")
pytestmark = pytest.mark.anyio

WORD: dict[str, Any] = {"by": "Ines", "reason": "it was the cable"}


async def silenced(at: House) -> str:
    return (await at.app.alerting.silence_for(parse_matchers("a=b"), 60, WORD["by"], WORD["reason"])).id


Case = Callable[[House], Awaitable[Any]]


async def opened(at: House) -> str:
    return (await at.app.trigger("down")).incident


async def pulled(at: House) -> str:
    return (await at.app.pause(Scope.SERVICE, "shop", for_s=60, **WORD)).id


async def released(at: House) -> list[str]:
    return [one.id for one in await at.app.resume(None, None, "", **WORD)]


CASES: dict[str, tuple[Case, str]] = {
    "an incident": (opened, "incident.opened"),
    "alerts": (lambda at: at.post(alert("Down"), alert("Other")), "incident.opened"),
    "a pause": (pulled, "actions.paused"),
    "its end": (released, "actions.resumed"),
    "a silence": (silenced, "silence.made"),
    "a reset": (lambda at: at.app.reset("shop", **WORD), "breaker.reset"),
}


async def twice(at: House, case: Case) -> tuple[Any, Any, Keyed]:
    with at.app.once.behalf(at.app.once.request("k", "f")):
        first = await case(at)
    with at.app.once.behalf(again := at.app.once.request("k", "f")):
        return first, await case(at), again


@pytest.mark.parametrize("name", CASES)
async def test_the_second_has_the_result_of_the_first(tmp_path: Path, name: str) -> None:
    case, kind = CASES[name]

    async with house(tmp_path, BOOK) as at:
        if case is released:
            await pulled(at)
        first, second, request = await twice(at, case)
        assert second == first
        assert request.recalled
        assert request.effect is not None
        assert kind in [event["kind"] for event in request.effect["told"]]
        assert sum(event.kind.value == kind for event in at.told) == (2 if name == "alerts" else 1)


async def test_what_failed_is_tried_again_and_what_was_answered_is_not(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        once = at.app.once
        with once.behalf(failed := once.request("k", "f")), pytest.raises(InvalidInput):
            await at.app.pause(Scope.SERVICE, "shop", for_s=60, by="", reason="")
        assert failed.effect is None
        with once.behalf(fine := once.request("k", "f")):
            await pulled(at)
        assert not fine.recalled

        refused = once.request("l", "f")
        await once.keep(refused, Answer(409))
        with once.behalf(once.request("l", "f")), pytest.raises(Conflict) as told:
            await opened(at)
        assert told.value.retry_after
        assert await once.look(refused) == Answer(409)
        with once.behalf(once.request("k", "other")), pytest.raises(InvalidInput, match="another request"):
            await opened(at)
        assert await at.app.incidents() == []


async def test_the_answer_to_what_had_no_effect_hides_no_effect(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        once = at.app.once
        late = once.request("k", "f")
        with once.behalf(request := once.request("k", "f")):
            await opened(at)
        await once.keep(late, Answer(404))
        assert await once.look(late) is None
        assert late.effect == request.effect
        await once.keep(request, Answer(200))
        assert await once.look(late) == Answer(200)


async def test_a_second_transaction_of_one_request_is_a_mistake_of_ours(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        with at.app.once.behalf(at.app.once.request("k", "f")):
            await opened(at)
            with pytest.raises(AssertionError, match="one transaction"):
                await opened(at)


async def test_what_goes_on_behind_it_has_no_key(tmp_path: Path) -> None:
    seen: list[Keyed | None] = []

    def look(_: Sequence[Event]) -> None:
        seen.append(asked())

    async with house(tmp_path, BOOK) as at:
        at.app.listeners.append(look)
        with at.app.once.behalf(at.app.once.request("k", "f")):
            incident = await opened(at)
        await at.over(incident)
        assert asked() is None

    assert len(seen) > 3
    assert set(seen) == {None}


async def test_a_storm_in_one_webhook_is_told_in_part(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        with at.app.once.behalf(request := at.app.once.request("k", "f")):
            receipt = await at.post(*[alert(f"A{number}") for number in range(MOST_TOLD)])
        assert receipt.accepted == MOST_TOLD
        assert request.effect is not None
        assert len(request.effect["told"]) == MOST_TOLD


async def test_what_is_too_old_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, BOOK) as at:
        once = at.app.once
        for number in range(5):
            await once.keep(once.request(str(number), "f"), Answer(404))
        monkeypatch.setattr(requests, "KEPT_US", 0)
        await once.forget()
        monkeypatch.undo()
        assert await once.look(once.request("1", "f")) is None

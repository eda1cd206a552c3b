"""What a plug-in may do to whoever asks it: be late, be deaf, break, or cancel itself; none of it ends a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from quell import registry
from quell.errors import Permanent, Transient
from quell.incident.action import Asks
from quell.incident.event import EventKind
from quell.incident.finding import Reading
from quell.redact import KNOWN
from quell.respond.look import INLINE_CHARS, answer, bounded
from tests.app import house, runbook

pytestmark = pytest.mark.anyio

CHECK = """
import asyncio
from quell.ports import Params
FACTS = {"value": "number"}
async def run(params, probe):
    raise asyncio.CancelledError
"""
ACTION = """
import asyncio
from quell.ports import Params, Preview, Risk
RISK, IDEMPOTENT = Risk.LOW, False
async def dry_run(params, probe):
    return Preview(call="quit halfway", targets=("shop",))
async def execute(params, probe):
    raise asyncio.CancelledError
"""


@pytest.fixture
def quitters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A check and an action of somebody else's package, installed; both cancel themselves."""
    package = tmp_path / "packages" / "quitters-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: quitters\nVersion: 1.0\n")
    entries = "[quell.plugins.checks]\nquits = quits_check\n[quell.plugins.actions]\nquits_halfway = quits_action\n"
    (package / "entry_points.txt").write_text(entries)
    (package.parent / "quits_check.py").write_text(CHECK)
    (package.parent / "quits_action.py").write_text(ACTION)
    monkeypatch.syspath_prepend(package.parent)
    for known in (registry._names, registry._installed):
        known.cache_clear()
    yield
    monkeypatch.undo()
    for known in (registry._names, registry._installed):
        known.cache_clear()


async def test_what_cancels_itself_is_an_error_of_its_own() -> None:
    async def quits() -> None:
        raise asyncio.CancelledError

    async def cancels_its_task() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(10)

    for work in (quits, cancels_its_task):
        with pytest.raises(Permanent, match="cancelled itself") as caught:
            await bounded(work(), 5)
        assert caught.value.error_class == "cancelled"


async def test_when_we_are_cancelled_so_is_the_plug_in() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(bounded(long(), 60))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 10)


async def test_what_is_late_or_breaks() -> None:
    async def breaks() -> None:
        raise ValueError("broken")

    with pytest.raises(Transient) as caught:
        await bounded(asyncio.sleep(60), 0.01)
    assert caught.value.error_class == "timeout"
    with pytest.raises(ValueError, match="broken"):
        await bounded(breaks(), 5)


@pytest.mark.usefixtures("quitters")
async def test_a_check_that_cancels_itself_is_a_finding(tmp_path: Path) -> None:
    check = "- {id: state, type: quits, interpret: {critical: value > 1}}"
    book = runbook("- {condition: state.critical, then: [fix]}", "- {id: fix, type: manual}", diagnostics=check)
    async with house(tmp_path, book.replace("signals: [state]", "signals: [trigger]")) as home:
        incident = await home.fire()
        await home.escalated(incident)
        [found] = await home.told_of(incident, EventKind.CHECK_FINISHED)
        assert (found["finding"]["status"], found["finding"]["error_class"]) == ("error", "cancelled")


@pytest.mark.usefixtures("quitters")
async def test_of_an_action_that_cancels_itself_nobody_knows_how_far_it_came(tmp_path: Path) -> None:
    act = "- {id: fix, type: automated, action: {type: quits_halfway, config: {}}}"
    async with house(tmp_path, runbook("- {condition: state.critical, then: [fix]}", act)) as home:
        incident = await home.fire()
        assert (await home.asked(incident)).asks is Asks.HAPPENED
        deeds = (await home.app.incident(incident)).deeds
        assert [deed.result for deed in deeds.values()] == ["unknown"]


async def test_what_comes_back_holds_no_secret_and_what_goes_wrong_neither() -> None:
    KNOWN.learn("tk-77Qx91")

    async def says() -> Reading:
        return Reading({"line": "with tk-77Qx91"}, summary="tk-77Qx91", evidence={"tk-77Qx91": ["tk-77Qx91"]})

    async def fails(error: Exception) -> Reading:
        raise error

    said = await answer(says(), 1.0)
    assert said == Reading({"line": "with •••"}, summary="•••", evidence={"•••": ["•••"]})
    with pytest.raises(Transient, match=r"^no •••$") as busy:
        await answer(fails(Transient("no tk-77Qx91", "busy", retry_after=2)), 1.0)
    assert (busy.value.error_class, busy.value.retry_after) == ("busy", 2)
    with pytest.raises(Permanent, match=r"^KeyError: '•••'$"):
        await answer(fails(KeyError("tk-77Qx91")), 1.0)


async def test_a_long_answer_holds_no_secret_either() -> None:
    KNOWN.learn("tk-77Qx91")

    async def says() -> str:
        return "x" * INLINE_CHARS + " tk-77Qx91"

    assert (await answer(says(), 5.0)).endswith("x •••")

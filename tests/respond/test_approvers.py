"""Whose yes counts: groups, people, whoever is on call at that moment; what cannot be found out is a no."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quell.app import App
from quell.errors import Conflict, Permanent, Refused, Transient, Unavailable
from quell.incident.event import EventKind
from quell.ports import OnCall, Params, Probe, ScheduleType
from quell.registry import Registry
from tests.app import House, do, house, runbook, settings_of, write

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
PEOPLE = "groups: {dba: [Ann, ben], sre: [carla, dba]}\n"
CARLA = OnCall("carla", ("carla@example.org",))


def asking(approval: str) -> str:
    return f"- {{id: fix, type: automated, approval: {approval}, action: {do('fix', 0)}}}"


async def refused(home: House, incident: str, by: str) -> Refused:
    with pytest.raises(Refused) as said:
        await home.app.answer(incident, "approved", by)
    return said.value


@pytest.mark.parametrize("approval", ["{approvers: [dba]}", "{approvers: dba}", "{from: dba}"])
async def test_only_a_group(tmp_path: Path, approval: str) -> None:
    async with house(tmp_path, runbook(FIX, asking(approval)), more=PEOPLE) as home:
        incident = await home.fire()
        await home.asked(incident)
        no = await refused(home, incident, "carla")
        assert (no.rule, no.value, no.limit) == ("approver", "carla", "dba")
        assert "only Ann, ben may say yes" in str(no)
        assert home.effects == []
        await home.app.answer(incident, "approved", "ANN")
        await home.over(incident)
        assert home.effects == ["fix"]


async def test_a_no_is_anybodys(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{approvers: [dba]}")), more=PEOPLE) as home:
        incident = await home.fire()
        await home.asked(incident)
        await home.app.answer(incident, "denied", "carla")
        await home.escalated(incident)
        assert home.effects == []


@pytest.mark.parametrize(
    ("names", "who", "counts"),
    [
        ("[dba, carla]", "carla", True),  # a person beside a group
        ("[sre]", "ben", True),  # a group inside a group
        ("[dbas]", "ann", False),  # a name that means nobody counts for nobody
        ("[oncall]", "ann", False),  # the service has nobody on call
    ],
)
async def test_who_is_behind_the_names(tmp_path: Path, names: str, who: str, counts: bool) -> None:
    async with house(tmp_path, runbook(FIX, asking(f"{{approvers: {names}}}")), more=PEOPLE) as home:
        incident = await home.fire()
        await home.asked(incident)
        if counts:
            await home.app.answer(incident, "approved", who)
        else:
            await refused(home, incident, who)


async def test_the_guardrails_ask_for_more_people_of_a_group_beside_the_runbooks_own(tmp_path: Path) -> None:
    more = PEOPLE + "guardrails: {actions: {run_script: {requires_approval: true, approvers: [dba], people: 2}}}\n"
    async with house(tmp_path, runbook(FIX, asking("{approvers: [sre]}")), more=more) as home:
        incident = await home.fire()
        one = await home.asked(incident)
        (asked,) = await home.told_of(incident, EventKind.APPROVAL_REQUESTED)
        assert (asked["people"], asked["approvers"]) == (2, [["sre"], ["dba"]])
        assert (await refused(home, incident, "carla")).limit == "dba"
        assert (await home.app.answer(one.approval, "approved", "ann"))["answer"] == "waiting"
        await refused(home, incident, "carla")
        await home.app.answer(one.approval, "approved", "ben")
        await home.over(incident)
        assert home.effects == ["fix"]


async def test_whoever_started_it_may_not_agree_to_it(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{not_requester: true}"))) as home:
        incident = (await home.app.trigger("down", actor="Dora")).incident
        await home.asked(incident)
        no = await refused(home, incident, "dora")
        assert (no.rule, no.value) == ("requester", "Dora")
        await home.app.answer(incident, "approved", "ann")
        await home.over(incident)
        assert home.effects == ["fix"]


async def test_whoever_gave_it_back_may_not_agree_to_it_either(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{not_requester: true}"))) as home:
        incident = await home.fire()
        await home.asked(incident)
        await home.app.take(incident, "dora")
        await home.over(incident)
        await home.app.give_back(incident, "dora")
        await home.asked(incident, 2)
        assert (await refused(home, incident, "dora")).rule == "requester"


async def test_of_a_manual_step_only_those_who_are_asked_say_that_it_is_done(tmp_path: Path) -> None:
    step = "- {id: fix, type: manual, instructions: do it, approval: {approvers: [dba]}}"
    async with house(tmp_path, runbook(FIX, step), more=PEOPLE) as home:
        incident = await home.fire()
        await home.asked(incident)
        with pytest.raises(Refused):
            await home.app.answer(incident, "done", "carla")
        await home.app.answer(incident, "done", "ann")
        await home.over(incident)


# On call.


class Rota(Params):
    """What the schedule says is in ``now``."""


class Shifts(Registry):
    """The real one, and a schedule whose answer the test gives."""

    def __init__(self) -> None:
        super().__init__()
        self.now: tuple[OnCall, ...] | Exception = ()
        self.asked: list[datetime] = []

    @property
    def schedules(self) -> Mapping[str, ScheduleType]:
        return {"test": ScheduleType("test", Rota, self._on_call)}

    async def _on_call(self, params: Any, probe: Probe, at: datetime) -> tuple[OnCall, ...]:
        self.asked.append(at)
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


@asynccontextmanager
async def on_call(folder: Path, approval: str, shifts: Shifts) -> Any:
    more = PEOPLE + "schedules: {shop-oncall: {type: test}}\n"
    write(folder, runbook(FIX, asking(approval)))
    app = App(settings_of(folder, more=more, services="{shop: {oncall: shop-oncall, owner: dba}}"), registry=shifts)
    await app.start()
    try:
        yield House(app, folder, [])
    finally:
        await app.stop()


@pytest.mark.parametrize("approval", ["{from: oncall}", "{from: shop-oncall}", "{approvers: [oncall]}"])
async def test_whoever_is_on_call_at_the_moment_of_the_answer(tmp_path: Path, approval: str) -> None:
    shifts = Shifts()
    shifts.now = (OnCall("ann"),)
    async with on_call(tmp_path, approval, shifts) as home:
        incident = await home.fire()
        await home.asked(incident)
        shifts.now = (CARLA,)  # the shift changes while it waits
        assert "only carla may say yes" in str(await refused(home, incident, "ann"))
        await home.app.answer(incident, "approved", "Carla@example.org")
        await home.over(incident)
        assert home.effects == ["fix"]
        assert shifts.asked[0].utcoffset() == datetime.now(UTC).utcoffset()


async def test_the_owner_is_the_group_of_that_name(tmp_path: Path) -> None:
    async with on_call(tmp_path, "{from: owner}", Shifts()) as home:
        incident = await home.fire()
        await home.asked(incident)
        await refused(home, incident, "carla")
        await home.app.answer(incident, "approved", "ben")


@pytest.mark.parametrize(
    ("now", "error", "said"),
    [
        ((), Refused, "nobody is in oncall now"),
        (Transient("it is away", retry_after=7.0), Unavailable, "cannot be found out: it is away"),
        (Permanent("no such schedule"), Refused, "cannot be found out: no such schedule"),
    ],
)
async def test_what_cannot_be_found_out_is_a_no(
    tmp_path: Path, now: tuple[OnCall, ...] | Exception, error: type[Exception], said: str
) -> None:
    shifts = Shifts()
    shifts.now = now
    async with on_call(tmp_path, "{from: oncall}", shifts) as home:
        incident = await home.fire()
        one = await home.asked(incident)
        with pytest.raises(error, match=said):
            await home.app.answer(incident, "approved", "ann")
        assert (await home.app.incident(incident)).approvals[one.approval].answer is None
        await home.app.answer(incident, "denied", "ann")  # which needs nobody to be found out


async def test_a_name_that_means_no_people_asks_everybody(tmp_path: Path) -> None:
    """As before there were groups: `from` says whom to tell."""
    async with house(tmp_path, runbook(FIX, asking("{from: payments}"))) as home:
        incident = await home.fire()
        await home.asked(incident)
        await home.app.answer(incident, "approved", "anybody")
        await home.over(incident)
        assert home.effects == ["fix"]


# What a reviewer tried.


async def test_one_person_under_two_names_is_one(tmp_path: Path) -> None:
    shifts = Shifts()
    shifts.now = (CARLA, OnCall("ann"))
    async with on_call(tmp_path, "{from: oncall, people: 2}", shifts) as home:
        incident = await home.fire()
        one = await home.asked(incident)
        assert (await home.app.answer(one.approval, "approved", "carla"))["answer"] == "waiting"
        with pytest.raises(Conflict, match="has answered already"):
            await home.app.answer(one.approval, "approved", "carla@example.org")
        await home.app.answer(one.approval, "approved", "ann")
        await home.over(incident)
        assert home.effects == ["fix"]


async def test_under_another_name_one_is_still_who_asked_for_it(tmp_path: Path) -> None:
    shifts = Shifts()
    shifts.now = (CARLA,)
    async with on_call(tmp_path, "{from: oncall, not_requester: true}", shifts) as home:
        incident = (await home.app.trigger("down", actor="carla@example.org")).incident
        await home.asked(incident)
        assert (await refused(home, incident, "carla")).rule == "requester"


async def test_asked_for_in_nobodys_name_nobody_knows_who_may_not(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{not_requester: true}"))) as home:
        incident = (await home.app.trigger("down")).incident
        await home.asked(incident)
        assert "run it again with a name" in str(await refused(home, incident, "ann"))


async def test_what_an_incident_waits_for_may_change_while_it_is_found_out_who_may(tmp_path: Path) -> None:
    """The yes is to what waited when it was given, however long the look at the schedule took."""
    both = asking("{from: oncall}") + "\n" + asking("{approvers: [dba]}").replace("id: fix,", "id: more,")
    shifts = Shifts()
    shifts.now = (OnCall("mallory"),)
    async with on_call(tmp_path, "{from: oncall}", shifts) as home:
        (tmp_path / "runbooks" / "0.yaml").write_text(
            runbook("- {condition: state.critical, then: [fix, more]}", both).replace("@/", f"{tmp_path}/")
        )
        await home.app.reload()
        incident = await home.fire()
        first = await home.asked(incident)
        look, on_call_now = shifts._on_call, shifts.now

        async def slowly(params: Any, probe: Probe, at: datetime) -> tuple[OnCall, ...]:
            shifts.now = (OnCall("ben"),)
            shifts._on_call = look  # type: ignore[method-assign]
            await home.app.answer(first.approval, "approved", "ben")
            await home.asked(incident, 2)
            return on_call_now

        shifts._on_call = slowly  # type: ignore[method-assign]
        with pytest.raises(Conflict, match="already approved by ben"):
            await home.app.answer(incident, "approved", "mallory")
        assert len((await home.app.incident(incident)).waiting) == 1


async def test_who_was_asked_by_a_name_that_means_nobody_any_more_is_still_asked(tmp_path: Path) -> None:
    book = runbook(FIX, asking("{from: dba, expires: 60s}"))
    async with house(tmp_path, book, more=PEOPLE) as home:
        incident = await home.fire()
        await home.asked(incident)
    async with house(tmp_path, book) as home:
        assert "nobody is in dba now" in str(await refused(home, incident, "ann"))

"""Plays a story with real Apps, one life after the other over one database, and keeps what a bystander would know.

What people are told back is what is kept: a pause counts from when whoever pulled it heard that it holds. Never does:
judge. Whoever asks for something that cannot be (somebody else has it, it has ended) is refused, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quell.app import App
from quell.errors import QuellError, Unavailable
from quell.incident.action import Asks
from quell.incident.event import EventKind
from quell.incident.incident import ENDED, Incident
from quell.incident.parts import Approval
from quell.incident.pause import Scope
from quell.settings import Settings
from tests.app import EVERY_S, House, alert, settings_of
from tests.fakes.counting import Lives
from tests.fakes.effects import EffectLog
from tests.respond.lives import Life, mourn
from tests.respond.stories import ALERTS, CATALOGUE, Story

REST_S = 1.5
"""How long a story waits for rest before it goes on anyway."""
END_S = 20.0


def _drained(settings: Settings, within_s: float) -> Settings:
    return settings.model_copy(update={"engine": settings.engine.model_copy(update={"drain": within_s, "park": 0.05})})


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass
class Pulled:
    """A pull of the kill switch: from when whoever pulled it heard that it holds, until somebody let go of it."""

    scope: str
    name: str
    since: int
    until: int


@dataclass
class Played:
    """What a bystander knows afterwards. Times are microseconds; ``resets``: (service, when it was heard)."""

    story: Story
    folder: Path
    database: str
    opened: list[str] = field(default_factory=list)
    pauses: list[Pulled] = field(default_factory=list)
    resets: list[tuple[str, int]] = field(default_factory=list)
    said: list[tuple[str, str, str]] = field(default_factory=list)
    """(approval, who, what), whether it was heard or not."""
    lives: list[tuple[int, int]] = field(default_factory=list)
    ends: dict[str, Incident] = field(default_factory=dict)

    @property
    def effects(self) -> list[dict[str, Any]]:
        return EffectLog(self.folder / "effects").read()


class Player:
    def __init__(self, story: Story, folder: Path, database: str) -> None:
        self.known = Played(story, folder, database or str(folder / "quell.db"))
        self.steps = list(story.steps)
        (folder / "runbooks").mkdir()
        for name, book in zip(ALERTS, story.books, strict=True):
            text = book.written(name).replace('"@"', json.dumps(str(folder)))
            (folder / "runbooks" / f"{name}.yaml").write_text(text)
        more = f"guardrails: {json.dumps(story.guardrails)}"
        self.settings = settings_of(
            folder, database=self.known.database, services=json.dumps(CATALOGUE), more=more
        )  # fmt: skip
        self.settings = _drained(self.settings, 0.3)

    def play(self) -> Played:
        while not asyncio.run(self._live()):
            mourn(self.known.database)
        gc.unfreeze()  # an App keeps what it has loaded for the life of a process; here there are many
        return self.known

    async def _live(self) -> bool:
        """One process, until it dies or is stopped. Whether the story is over."""
        life, began = Life(), now_us()
        Lives.is_dead, Lives.acts, Lives.number = life.moment, life.acts, len(self.known.lives)
        self.app = App(self.settings)
        await self.app.start()
        assert not self.app.library.broken, self.app.library.broken
        life.of(self.app.database)
        try:
            await self._go_on(life)
        except Unavailable:
            assert life.dead, "the database was there"
        finally:
            over = not life.dead and not self.steps
            died = now_us()
            if life.dead:  # nobody waits for what a dead process was at
                self.app.settings = _drained(self.app.settings, 0.0)
            await self.app.stop()
            self.known.lives.append((began, died if life.dead else now_us()))
        return over

    async def _go_on(self, life: Life) -> None:
        while self.steps and not life.dead:
            step = self.steps.pop(0)
            if step.what == "restart":
                if self.steps:
                    return
            elif step.what == "die":
                life.left = int(step.about[0])
            elif step.what == "die_acting":
                life.dies_acting = True
            else:
                with contextlib.suppress(QuellError) if not life.dead else contextlib.nullcontext():
                    await getattr(self, f"_{step.what}")(*step.about)
            if not step.soon:
                await self._rest(life, REST_S)
        if not life.dead:
            life.left, life.dies_acting = None, False
            await self._end(life)

    # What may happen.

    async def _fire(self, name: str, service: str) -> None:
        (self.known.folder / f"state-{service}").write_text("50")
        await self._post(name, service, "firing")

    async def _calm(self, name: str, service: str) -> None:
        await self._post(name, service, "resolved")

    async def _post(self, name: str, service: str, status: str) -> None:
        receipt = await House(self.app, self.known.folder, []).post(alert(name, status=status, service=service))
        self.known.opened += receipt.incidents

    async def _nth(self, which: int) -> str:
        found = sorted(one.id for one in await self.app.incidents(ended=False))
        return found[which % len(found)] if found else "none"

    async def _answer(self, which: int, yes: bool, who: str) -> None:
        waiting = [one for known in await self.app.incidents() for one in known.waiting]
        if waiting:
            one = sorted(waiting, key=lambda one: one.approval)[which % len(waiting)]
            said = "approved" if yes else "denied"
            await self._say(one, self._happened(one) if one.asks is Asks.HAPPENED else said, who)

    async def _agree(self, *people: str) -> None:
        """To everything that waits."""
        for one in [one for known in await self.app.incidents() for one in known.waiting]:
            for who in people:
                with contextlib.suppress(QuellError):
                    await self._say(one, self._happened(one) if one.asks is Asks.HAPPENED else "approved", who)

    async def _say(self, approval: Approval, said: str, who: str) -> None:
        self.known.said.append((approval.approval, who, said))
        await self.app.answer(approval.approval, said, who)

    def _happened(self, approval: Approval) -> str:
        """People look at the target."""
        key = approval.node.removesuffix("/happened")
        return "approved" if any(one["key"] == key for one in self.known.effects) else "failed"

    async def _take(self, which: int, who: str) -> None:
        await self.app.take(await self._nth(which), who)

    async def _give_back(self, which: int, who: str) -> None:
        await self.app.give_back(await self._nth(which), who)

    async def _resolve(self, which: int, who: str) -> None:
        await self.app.resolve(await self._nth(which), who)

    async def _pause(self, scope: str, name: str, for_s: float) -> None:
        pulled = await self.app.pause(Scope(scope), name, for_s=for_s, by="dora", reason="we move the network")
        until = int(pulled.until.timestamp() * 1_000_000)
        self.known.pauses.append(Pulled(scope, name, now_us(), until))

    async def _resume(self) -> None:
        for one in await self.app.pauses():
            for mine in self.known.pauses:
                if (mine.scope, mine.name) == (one.scope.value, one.name):
                    mine.until = min(mine.until, now_us())
            await self.app.resume(one.id, None, "", by="dora")

    async def _reset(self, service: str) -> None:
        await self.app.reset(service, "dora", "it was the cable")
        self.known.resets.append((service, now_us()))

    async def _grow(self, service: str, size: int) -> None:
        (self.known.folder / f"size-{service}").write_text(str(size))

    async def _spread(self, service: str, parts: int) -> None:
        (self.known.folder / f"parts-{service}").write_text(str(parts))

    # Until nothing moves.

    async def _rest(self, life: Life, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while not life.dead and time.monotonic() < deadline:
            if all([await self._rests(one) for one in await self.app.incidents(limit=500)]):
                return True
            await asyncio.sleep(EVERY_S)
        return False

    async def _rests(self, one: Incident) -> bool:
        """Over, or in somebody's hands; queued behind another's target counts too, while that one waits for people."""
        if one.outcome is not None:
            return bool(one.status in ENDED or one.outcome != "escalated" or one.escalated_to)
        soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        return any((approval.expires_at or "") > soon for approval in one.waiting)

    async def _end(self, life: Life) -> None:
        """The last life goes on until nothing moves; what nobody knows whether it happened, somebody finds out."""
        deadline = time.monotonic() + END_S
        while not await self._rest(life, 0.3) or await self._found_out():
            lost = [one for one in await self.app.incidents(limit=500) if not await self._rests(one)]
            assert time.monotonic() < deadline, f"never came to rest: {[await self._tale(one) for one in lost]}"
        self.known.ends = {one.id: one for one in await self.app.incidents(limit=500)}

    async def _found_out(self) -> bool:
        asked = [one for known in await self.app.incidents(limit=500) for one in known.waiting]
        open_ = [one for one in asked if one.asks is Asks.HAPPENED]
        for one in open_:
            with contextlib.suppress(QuellError):
                await self._say(one, self._happened(one), "anna")
        return bool(open_)

    async def _tale(self, one: Incident) -> str:
        return "\n".join([f"{one.id} {one.status} {one.outcome}", *told(await self.app.timeline(one.id))])


def told(timeline: Any) -> Iterator[str]:
    """A timeline for a person."""
    dull = (EventKind.CHECK_FINISHED, EventKind.NOTIFIED)
    for event in timeline:
        if event.kind not in dull:
            yield f"  {event.at:%S.%f} {event.kind} by {event.actor} {json.dumps(event.payload)[:240]}"

"""Paging people with all the evidence: the primary, then the secondary when nobody has acknowledged in time.

A workflow of its own, ``page``, so that it goes on after the run has ended. A delivery that fails is tried again, then
told to the log, and recorded as not delivered: silence is never an outcome.
Never does: decide that a person is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError

from quell.errors import Permanent, Transient
from quell.incident.event import Event, EventKind, NewEvent, Stream
from quell.incident.incident import ENDED, Incident
from quell.ports import Message, NotifierType
from quell.respond.approvers import meant
from quell.respond.asked import asked_of
from quell.respond.destination import destination
from quell.respond.look import answer
from quell.respond.means import Context, Means
from quell.runbook.plan import Escalation
from quell.runbook.quantities import spoken
from quell.store import events, queries
from quell.store.events import when

WORKFLOW = "page"
TOPIC = "acknowledged"
ATTEMPTS = 4
_HEARD = frozenset({EventKind.ACKNOWLEDGED, EventKind.STEP_RECORDED, EventKind.HANDED_OVER})
"""What whoever is on it says: an acknowledgement counts from the last of these."""
SOON_S = 0.05
LATE_S = 7 * 86_400.0
"""How long an acknowledgement is waited for after everybody was paged."""
TIMES = 50
"""How often everybody is paged at most, however often an acknowledgement is forgotten."""
SEND_TIMEOUT_S = 15.0
LONGEST_PAUSE_S = 10.0
"""Whatever the other side asks for: somebody is waiting to be paged."""


class Page(BaseModel):
    """Whom to page, why, and after how long the next one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: Context
    escalation: Escalation
    reason: str
    extra: tuple[str, ...] = ()
    again: bool = False
    reopened: int = 0
    """How often the incident had been opened again when this page began without a run of its own."""

    @property
    def key(self) -> str:
        """The id of its workflow; a second page of the same run is another one."""
        more = f".reopened{self.reopened}" if self.reopened else ".again" if self.again else ""
        return f"page:{self.context.incident}.{self.context.run}{more}"


def pages_of(incident: Incident) -> tuple[str, ...]:
    """The ids that the paging of its run may have."""
    context = Context(incident=incident.id, run=max(incident.run, 1))
    kinds: list[dict[str, Any]] = [{}, {"again": True}]
    if incident.reopened:
        kinds.append({"reopened": incident.reopened})
    return tuple(Page(context=context, escalation=Escalation(), reason="", **kind).key for kind in kinds)


async def acknowledge(means: Means, workflow: str, by: str, seq: int) -> None:
    """Tell a page that waits that somebody is on it. ``seq``: of the incident then, for it may be said again."""
    if await means.durable.status(workflow) in ("PENDING", "ENQUEUED", "DELAYED"):
        await means.durable.send(workflow, {"by": by}, topic=TOPIC, key=f"{workflow}/acknowledged/{seq}")


def levels(page: Page, default: str) -> list[tuple[str, ...]]:
    """Who is told first, and who next."""
    first = tuple(dict.fromkeys(to for to in (*page.extra, page.escalation.primary or default) if to))
    others = (page.escalation.secondary, *page.escalation.further)
    return [first or ("log:",), *((to,) for to in others if to)]


class Telling(BaseModel):
    """A message on the way: ``kind`` as in ``Message``; ``approval``: what it asks to answer, if anything.

    ``whom``: who is meant, told as well where that leads somewhere (of an approval, whom it names).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: Context
    text: str
    kind: str = "approval"
    key: str
    approval: str = ""
    whom: str = ""


class Pager:
    """Register ``run`` as the workflow ``page`` and ``tell`` as ``tell``."""

    def __init__(self, means: Means) -> None:
        self.means = means

    async def run(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        page = Page.model_validate(raw)
        for time in range(1, TIMES + 1):
            ended = await self._once(page, time)
            seen = ended.get("acknowledged") or ended.get("stopped")
            if not seen or time == TIMES or not await self._forgotten(page, time):
                break
        return ended

    async def _once(self, page: Page, time: int) -> dict[str, Any]:
        """Everybody in turn, until somebody has acknowledged it."""
        durable = self.means.durable
        for number, level in enumerate(levels(page, self.means.default_escalation), start=1):
            told = await durable.step("tell", self._tell, page, number, level, time)
            if told["stopped"]:
                return {"level": number, "stopped": told["stopped"]}
            if not told["reached"]:
                continue  # nobody of this level can hear of it: waiting for them would be silence
            answer = await durable.receive(TOPIC, page.escalation.after_s)
            if answer is not None:
                return {"level": number, "acknowledged": answer.get("by")}
        # Whoever comes late may forget it just as well.
        late = await durable.receive(TOPIC, LATE_S) if page.escalation.repage_s else None
        return {"level": 0, "acknowledged": late.get("by") if late else None}

    async def _forgotten(self, page: Page, time: int) -> bool:
        """Wait as long as an acknowledgement counts, anew whenever something is heard. Whether to page again."""
        durable = self.means.durable
        while page.escalation.repage_s:
            left_s = await durable.step("heard", self._left_s, page)
            if left_s is None:
                return False
            if left_s <= 0 and await durable.step("forget", self._forget, page, time):
                return True
            # A message wakes it early; what is written is what counts.
            await durable.receive(TOPIC, max(left_s, SOON_S))
        return False

    async def _left_s(self, page: Page) -> float | None:
        """How long what was heard last still counts. None: nothing hangs on this page any more."""
        return await self.means.database.read(lambda connection: self._left(connection, page))

    def _left(self, connection: sa.Connection, page: Page) -> float | None:
        incident = queries.incident(connection, page.context.incident)
        log = queries.timeline(connection, incident.tenant, incident.id)
        later = incident.run > page.context.run or any(one.node.startswith(f"{page.key}.again") for one in log)
        if incident.status in ENDED or incident.assignee is not None or later:
            return None
        heard = max((one.at for one in log if one.kind in _HEARD), default=None)
        if heard is None or incident.acknowledged_by is None:
            return 0.0
        return page.escalation.repage_s - (self.means.world.clock() - heard).total_seconds()

    async def _forget(self, page: Page, time: int) -> bool:
        """The acknowledgement counts no more, unless something was heard in this moment."""

        def look(connection: sa.Connection) -> list[Event] | None:
            context = page.context
            events.hold(connection, context.tenant, Stream.INCIDENT, context.incident)
            left_s = self._left(connection, page)
            if left_s is None or left_s > 0:
                return None
            by = queries.incident(connection, context.incident).acknowledged_by or ""
            payload = {"by": by, "reason": f"nothing was heard for {spoken(page.escalation.repage_s)}"}
            key = f"{page.key}/{time}/forgotten"
            told = NewEvent(kind=EventKind.UNACKNOWLEDGED, payload=payload, node=page.key, key=key)
            return self.means.append(connection, context, [told])

        told = await self.means.database.write(look)
        self.means.on_events(told or [])
        return told is not None

    async def tell(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A message to the primary, beside the run that it is about: who cannot be reached delays nothing."""
        telling = Telling.model_validate(raw)
        return {"delivered": await self.means.durable.step("send", self._send, telling)}

    async def _send(self, telling: Telling) -> bool:
        """To the primary, and to whom it is for where they can be told. Whether the primary heard of it."""
        context, whom = telling.context, telling.whom
        escalation = (await self.means.plan(context.plan)).escalation if context.plan else Escalation()
        primary = escalation.primary or self.means.default_escalation or "log:"
        incident = await self.means.incident(context)
        message = evidence(incident, telling.text, self.means.base_url, telling.kind, but=telling.approval)
        if telling.approval:
            row = await self.means.database.read(lambda connection: queries.approval(connection, telling.approval))
            asked = asked_of(orjson.loads(row["request"]), when(row["requested_at"]), message.url)
            message, whom = replace(message, asked=asked), meant(self.means, asked.whom, incident.service)
        sending = [deliver(self.means, context, primary, message, telling.key)]
        if whom != primary and leads_somewhere(self.means, whom):
            sending.append(deliver(self.means, context, whom, message, f"{telling.key}/{whom}"))
        return (await asyncio.gather(*sending))[0]

    async def _tell(self, page: Page, number: int, level: tuple[str, ...], time: int) -> dict[str, Any]:
        """Tell everybody of a level. Returns why it is not needed any more, if so, and whether anybody was reached."""
        context = page.context
        incident = await self.means.incident(context)
        if incident.status in ENDED:
            return {"stopped": incident.status.value, "reached": 0}
        if (number > 1 or time > 1) and (incident.acknowledged_by or incident.assignee):
            return {"stopped": incident.acknowledged_by or incident.assignee, "reached": 0}
        key = f"{page.key}/{number}" if time == 1 else f"{page.key}/{number}.{time}"
        told = NewEvent(
            kind=EventKind.ESCALATED, node=key, key=f"{key}/escalated",
            payload={"reason": page.reason, "to": list(level), "level": number},
        )  # fmt: skip
        await self.means.record(context, told)
        incident = await self.means.incident(context)
        message = evidence(incident, page.reason, self.means.base_url)
        sent = (deliver(self.means, context, to, message, f"{key}/{to}", number) for to in level)
        return {"stopped": None, "reached": sum(await asyncio.gather(*sent))}


async def deliver(means: Means, context: Context, to: str, message: Message, key: str, level: int = 0) -> bool:
    """Send, again after a ``Transient``; record what came of it."""
    delivered, detail = True, ""
    try:
        detail = await send(means, to, message, key)
    except Exception as error:  # a notifier's own fault must not end in silence either
        delivered, detail = False, str(error) or type(error).__name__
        # Never silent: what could not be delivered stands in the server's own log.
        await send(means, "log:", message, key)
    payload = {"to": to, "kind": message.kind, "delivered": delivered, "detail": detail[:500], "level": level}
    await means.record(context, NewEvent(kind=EventKind.NOTIFIED, payload=payload, node=key, key=f"{key}/sent"))
    return delivered


async def send(means: Means, to: str, message: Message, key: str) -> str:
    """One message to one place. Raises ``NotFound``, ``Permanent``, or ``Transient`` after the last attempt."""
    kind, params = resolve(means, to)
    probe = means.world.probe(timeout_s=SEND_TIMEOUT_S, key=key)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await answer(kind.send(message, params, probe), SEND_TIMEOUT_S)
        except Transient as error:
            if attempt == ATTEMPTS:
                raise
            await asyncio.sleep(min(error.retry_after or 0.5 * 2 ** (attempt - 1), LONGEST_PAUSE_S))
    raise AssertionError("a message is sent at least once")


def resolve(means: Means, to: str) -> tuple[NotifierType, Any]:
    """The notifier behind an address, and its parameters. Raises ``NotFound`` or ``Permanent``."""
    registry = means.world.registry
    found = destination(to, registry.notifiers.values(), means.notifiers, means.world.connections)
    return _checked(registry.notifier(found.type), found.params)


def leads_somewhere(means: Means, to: str) -> bool:
    """Whether it is a configured name or an address of a known kind, and no role that only people know."""
    prefixes = (prefix for kind in means.world.registry.notifiers.values() for prefix in kind.prefixes)
    return to in means.notifiers or any(f"{to}:".startswith(prefix) for prefix in prefixes)


def _checked(kind: NotifierType, params: Mapping[str, Any]) -> tuple[NotifierType, Any]:
    try:
        return kind, kind.params.model_validate(params)
    except ValidationError as error:
        parts = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        raise Permanent(f"notifier {kind.name}: {'; '.join(parts)}", "invalid") from None


def evidence(incident: Incident, reason: str, base_url: str, kind: str = "page", *, but: str = "") -> Message:
    """All that a person needs to take over: why, what was found, what was tried, what waits ``but`` what is asked."""
    findings = tuple(
        {
            "check": one["check"],
            "name": one.get("name") or one["check"],
            "status": one["status"],
            "message": one.get("message", ""),
        }
        for one in incident.findings.values()
    )
    tried = [
        f"{deed.call or deed.action}: {deed.result or 'running'} {deed.summary}" for deed in incident.deeds.values()
    ]
    refused = [f"{one['action']} not run: {one['reason']}" for one in incident.refusals]
    waiting = [f"{one.call} (approve {one.approval})" for one in incident.waiting if one.approval != but]
    sections = tuple(
        (title, tuple(lines))
        for title, lines in (("Tried", tried), ("Refused", refused), ("Waiting for approval", waiting))
        if lines
    )
    return Message(
        kind=kind, incident=incident.id, title=incident.title, text=reason, severity=incident.severity,
        service=incident.service or "unknown", status=incident.status.value, dedup_key=f"quell/{incident.id}",
        url=f"{base_url}/incidents/{incident.id}" if base_url else "", sections=sections, findings=findings,
    )  # fmt: skip

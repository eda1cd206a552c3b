"""The way in for alerts: a webhook's bytes become alerts, and each alert an incident, or a part of one.

Works inside an open ``Change``. Never does: commit, answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
import structlog

from quell import source_of
from quell.delivery import Delivery, Letter
from quell.errors import InvalidInput, NotFound, Permanent, Refused, Transient, Unavailable
from quell.incident.alert import Alert, AlertStatus
from quell.incident.service import Service
from quell.intake import accept, heartbeat, per_source
from quell.intake.bucket import Bucket
from quell.intake.correlate import Nothing, in_order
from quell.intake.heard import Heard
from quell.intake.per_source import UNSAID, SourceSettings
from quell.intake.placing import Intake, Site
from quell.ports import Probe, SourceType
from quell.redact import KNOWN
from quell.registry import Registry
from quell.respond.change import Change
from quell.respond.means import Means
from quell.runbook.plan import Plan
from quell.settings import Settings
from quell.settling import settle
from quell.store import requests
from quell.store.database import now_us
from quell.store.events import dumps, when
from quell.telling.why import Why

PROOF_S = 10.0
"""How long it may take to find out whether a message may be believed: senders wait for about 15 seconds."""
AGAIN_S = 5.0
LARGEST_EACH = 16_384
"""Bytes for each alert in a body that is kept as it came: what may wait is counted in alerts."""
TOLD_AGAIN_S = 10.0
"""How often it is said that a source sends more than it may."""
SIZE = "size"
"""The rule that refuses a body which is too long."""
UNPROVEN = "no secret is configured for this source"
"""How a sender was known of whom nothing was asked."""
_log = structlog.get_logger("quell")


class Reception:
    """What a site receives, by its settings. ``clock``: seconds, for how much comes in how long."""

    def __init__(
        self, settings: Settings, registry: Registry, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self.settings, self.registry, self._clock = settings, registry, clock
        self.heard = Heard(clock)
        self._known: dict[str, tuple[SourceType, Any]] = {}
        self._buckets = {
            name: Bucket(*said.limit) for name, said in settings.sources.items() if said.limit is not None
        }  # fmt: skip
        self._told_at: dict[str, float] = {}
        self._known_site: Site | None = None

    async def read(
        self, source: str, headers: Mapping[str, str], body: bytes, probe: Probe, sender: str = ""
    ) -> Delivery:  # fmt: skip
        """Its alerts, and what cannot be read. ``sender``: how the gate knew them, when it asked.

        Raises ``NotFound`` (source), ``Refused`` (signature, size), ``InvalidInput``, ``Unavailable`` (cannot be proven
        now, or more than it may send).
        """
        try:
            delivery = await self._read(source, headers, body, probe, sender)
        except (Refused, InvalidInput, Unavailable):
            self.heard.refused(source)
            raise
        # Whoever comes lives, even when there should be no room for what it brings.
        alive = heartbeat.alive(self._said(source).expect, delivery.signs)
        self.heard.came(source, len(delivery.alerts) + len(delivery.signs), alive=alive)
        return delivery

    async def _read(
        self, source: str, headers: Mapping[str, str], body: bytes, probe: Probe, sender: str
    ) -> Delivery:  # fmt: skip
        self._within_size(source, body)
        kind, params = self._verified(source, headers, body)
        asks = kind.prove is not None or kind.answer is not None
        if asks and (noted := await _believed(source, kind, params, headers, body, probe)) is not None:
            noted = KNOWN.tree(noted)
            _log.info("webhook_noted", source=source, noted=noted)
            return Delivery(source, (), noted=noted)
        alerts, bad, signs = self._parsed(source, kind, params, headers, body, datetime.now(UTC))
        self.within_rate(source, len(alerts) + len(bad) + len(signs))
        ignored = None if alerts or bad or signs else kind.ignored(body)
        signature = self._known_by(kind, params, headers, body, sender)
        return Delivery(
            source, alerts, bad, kind.delivery(headers, body), ignored, signature=signature, signs=signs,
            beats=bool(signs) or kind.heartbeat,
        )  # fmt: skip

    def letter(self, source: str, headers: Mapping[str, str], body: bytes, sender: str = "") -> Letter | None:
        """A body that may be read later; None of one that must be read now. Raises as ``read``, of what it looks at."""
        try:
            self._within_size(source, body)
            kind, params = self._verified(source, headers, body)
        except Refused:
            self.heard.refused(source)
            raise
        size = kind.count(body)
        if not size or len(body) > size * LARGEST_EACH or kind.delivery(headers, body) is not None:
            return None
        tenant = getattr(params, "tenant", None) or self._said(source).tenant or self.settings.tenant
        signature = self._known_by(kind, params, headers, body, sender)
        return Letter(tenant, source, size, now_us(), signature, body)

    def accept(self, letter: Letter) -> None:
        """It is read later. Raises ``Unavailable`` when its source may not send so much."""
        try:
            self.within_rate(letter.source, letter.size)
        except Unavailable:
            self.heard.refused(letter.source)
            raise
        expect = self._said(letter.source).expect  # what lives by certain alerts alone has to be read for it
        self.heard.came(letter.source, letter.size, alive=expect is None or not expect.alerts)

    def opened(self, letter: Letter) -> Delivery:
        """What is in it. Raises ``NotFound``, ``InvalidInput`` when its source reads it no longer."""
        kind, params = self._source(letter.source)
        alerts, bad, signs = self._parsed(letter.source, kind, params, {}, letter.body, when(letter.received_at))
        beats = bool(signs) and heartbeat.alive(self._said(letter.source).expect, signs)
        return Delivery(letter.source, alerts, bad, signature=letter.signature, signs=signs, beats=beats)

    def _parsed(
        self, source: str, kind: SourceType, params: Any, headers: Mapping[str, str], body: bytes, at: datetime
    ) -> tuple[list[Alert], list[tuple[str, Any]], list[Alert]]:  # fmt: skip
        """Its alerts, what is wrong, and the alerts that only say that the source lives."""
        # What went wrong elsewhere may have our secrets in its words.
        alerts, bad = KNOWN.tree(kind.parse(body, headers, params, at))
        located = [self._located(source, alert) for alert in self._owned(source, kind, alerts)]
        signs, located = heartbeat.apart(self._said(source).expect, located)
        return per_source.as_one(located) if self._said(source).dedup is not None else located, bad, signs

    def _known_by(
        self, kind: SourceType, params: Any, headers: Mapping[str, str], body: bytes, sender: str
    ) -> str:  # fmt: skip
        return KNOWN.text(known_by(kind, params, headers, body) or sender or UNPROVEN)

    def addressed(self, kind: str, headers: Mapping[str, str], body: bytes) -> str:
        """The configured source of this type that lets the sender in: the credentials are the address.

        Raises ``Refused`` (signature); ``Unavailable`` when one cannot tell, so that nobody is sent away for good.
        """
        plugin = self.registry.source(kind)
        stranger = plugin.verify(headers, body, plugin.params())
        found, unsure = [], False
        for name in self._of_kind(kind):
            refused = self._refusal(name, headers, body)
            found += [name] if refused is None else []
            unsure |= refused not in (None, stranger)
        if found:
            return found[0]
        if unsure:
            raise Unavailable(f"a source of type {kind} cannot tell who may post; quell doctor says why")
        raise Refused("signature", stranger or "no such source is configured")

    def meant(self, kind: str, headers: Mapping[str, str], body: bytes) -> str:
        """The source of this type that somebody posts to who names none: the one whose own credentials are shown, else
        one that asks for none, else the type itself, as it is where nothing is configured."""
        lets_in = [name for name in self._of_kind(kind) if self._refusal(name, headers, body) is None]
        return min(lets_in, key=lambda name: not self.guards_itself(name), default=kind)

    def knows(self, kind: str, headers: Mapping[str, str]) -> bool:
        """Whether a source of this type that asks for credentials of its own is shown them in these headers."""
        meant = self.meant(kind, headers, b"")
        return self.guards_itself(meant) and self._refusal(meant, headers, b"") is None

    def _of_kind(self, kind: str) -> list[str]:
        return [name for name, configured in self.settings.sources.items() if (configured.type or name) == kind]

    def _refusal(self, source: str, headers: Mapping[str, str], body: bytes) -> str | None:
        try:
            kind, params = self._source(source)
        except InvalidInput as error:
            return str(error)
        return kind.verify(headers, body, params)

    def verify(self, source: str, headers: Mapping[str, str], body: bytes) -> None:
        """Raises ``NotFound`` (source), ``Refused`` (signature)."""
        self._verified(source, headers, body)

    def _verified(self, source: str, headers: Mapping[str, str], body: bytes) -> tuple[SourceType, Any]:
        kind, params = self._source(source)
        if refused := kind.verify(headers, body, params):
            raise Refused("signature", refused)
        return kind, params

    def kind_of(self, source: str) -> SourceType:
        """Raises ``NotFound``, ``InvalidInput``."""
        return self._source(source)[0]

    def guards_itself(self, source: str) -> bool:
        """Whether that webhook asks for credentials of its own: it refuses a request that has none."""
        try:
            kind, params = self._source(source)
        except (NotFound, InvalidInput):
            return False
        return kind.verify({}, b"", params) is not None

    def _said(self, source: str) -> SourceSettings:
        return self.settings.sources.get(source, UNSAID)

    def _within_size(self, source: str, body: bytes) -> None:
        most = self._said(source).max_body_bytes
        if most is not None and len(body) > most:
            raise Refused(SIZE, f"the body has {len(body)} bytes; of {source} at most {most} are read", limit=most)

    def within_rate(self, source: str, count: int) -> None:
        """Raises ``Unavailable``, since an Alertmanager drops what is answered with 429, and comes again after 503."""
        bucket, now = self._buckets.get(source), self._clock()
        if bucket is None or not (wait_s := bucket.take(count, now)):
            return
        if now - self._told_at.get(source, -TOLD_AGAIN_S) >= TOLD_AGAIN_S:
            self._told_at[source] = now
            _log.warning("source_over_its_rate", source=source, rate=self._said(source).rate, refused=bucket.refused)
        raise Unavailable(
            f"{source} may send {self._said(source).rate}, and these {count} are more; nothing of them was taken",
            retry_after=wait_s,
        )

    def _source(self, source: str) -> tuple[SourceType, Any]:
        if source not in self._known:
            self._known[source] = source_of.read(self.settings, self.registry, source)
        return self._known[source]

    def ours(self, alert: Alert) -> Alert:
        """One that names no environment or region is of ours."""
        return self._located(alert.source, alert)

    def _owned(self, source: str, kind: SourceType, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Whose they are, where the source has no parameter for it, and does not say it itself."""
        owner = self._said(source).tenant or self.settings.tenant
        nobodys = Alert.model_fields["tenant"].default
        if "tenant" in kind.params.model_fields or owner == nobodys:
            return alerts
        return [one.model_copy(update={"tenant": owner}) if one.tenant == nobodys else one for one in alerts]

    def _located(self, source: str, alert: Alert) -> Alert:
        """An alert is from the source as the site calls it: two of a kind may have the same fingerprints. One that
        names no environment or region is of ours. What else it is, the site may say of its source."""
        settings, said = self.settings, self.settings.sources.get(source)
        place = {
            "source": source, "environment": alert.environment or settings.environment,
            "region": alert.region or settings.region,
        }  # fmt: skip
        found = {name: value for name, value in place.items() if getattr(alert, name) != value}
        if said is not None:
            kind, params = self._source(source)
            labels = None if "labels" in kind.params.model_fields else said.labels
            label = getattr(params, "severity_label", "severity")
            found |= per_source.as_said(alert, said, severity_label=label, labels=labels)
        return alert.model_copy(update=found) if found else alert  # a copy of each alert of a storm is time

    def take_in(self, change: Change, delivery: Delivery, plans: Iterable[Plan]) -> dict[str, Any]:
        """The fields of its receipt. One that has come before has no second effect, and the receipt of the first."""
        connection, tenant = change.connection, self.settings.tenant
        if delivery.name is None:
            return self._taken_in(change, delivery, plans)
        key, now = requests.delivery(delivery.source, delivery.name), change.means.database.now_us(connection)
        if not requests.claim(connection, tenant, key, "", now):
            kept = requests.find(connection, tenant, key, now)
            assert kept is not None, "whoever had claimed it is gone"
            receipt: dict[str, Any] = orjson.loads(kept.effect or "")
            return receipt
        receipt = self._taken_in(change, delivery, plans)
        requests.led_to(connection, tenant, key, dumps(receipt))
        return receipt

    def _taken_in(self, change: Change, delivery: Delivery, plans: Iterable[Plan]) -> dict[str, Any]:
        """Each alert to its incident; what cannot be read is set aside with its reason."""
        accept.in_turn(change.connection, self.settings.tenant)
        alerts = delivery.alerts
        leaving = [alert for alert in alerts if alert.status is AlertStatus.RESOLVED]
        intake, raise_at = self.intake(change, plans, leaving), self.settings.correlation.raise_at
        incidents = [
            settle(change, intake.place(alert, signature=delivery.signature), raise_at) for alert in in_order(alerts)
        ]  # fmt: skip
        accept.set_aside(change.connection, self.settings.tenant, delivery.source, delivery.bad)
        return {
            "accepted": len(alerts), "incidents": [one for one in dict.fromkeys(incidents) if one is not None],
            "quarantined": [reason for reason, _ in delivery.bad],
            "fingerprints": [alert.fingerprint for alert in alerts],
        }  # fmt: skip

    def intake(self, change: Change, plans: Iterable[Plan], leaving: Sequence[Alert] = ()) -> Intake:
        """What alerts are held against in this transaction. ``leaving``: what resolves in the same delivery."""
        now = change.means.database.now_us(change.connection)
        return Intake(change.connection, self._site(change.means.world.services), list(plans), when(now), leaving)

    def would(self, means: Means, connection: sa.Connection, alert: Alert, plans: Iterable[Plan]) -> Why:
        """What would follow from an alert that came now. Only reads."""
        now = when(means.database.now_us(connection))
        return self.foreseen(connection, means.world.services, now, alert, plans)

    def foreseen(
        self, connection: sa.Connection, services: Mapping[str, Service], now: datetime, alert: Alert,
        plans: Iterable[Plan],
    ) -> Why:  # fmt: skip
        """The same next to what ``connection`` holds, by these services, at this moment."""
        placed = Intake(connection, self._site(services), list(plans), now).place(alert)
        if heartbeat.counts(self._said(alert.source).expect, alert):
            placed = replace(placed, meaning=Nothing(f"it is a sign of life of {alert.source}, and opens nothing"))
        plan = placed.route.plan
        told = {"name": alert.name, "source": alert.source, "service": placed.service, "severity": placed.severity,
                "labels": alert.labels, "status": alert.status.value}  # fmt: skip
        return Why(
            alert=told, outcome=accept.OUTCOMES[type(placed.meaning)], reason=placed.meaning.reason, signature="",
            runbook=plan.id if plan else None, dedup_key=placed.id, group_key=placed.group_key,
            tried=tuple(placed.tried),
        )  # fmt: skip

    def _site(self, services: Mapping[str, Service]) -> Site:
        if self._known_site is None or self._known_site.services is not services:
            self._known_site = Site(services, self.settings.intake_rules)
        return self._known_site


def known_by(kind: SourceType, params: Any, headers: Mapping[str, str], body: bytes) -> str:
    """How whoever was let in was known; empty when the source asks for nothing."""
    if kind.proof is not None:
        return kind.proof(headers, body, params)
    return "the source's own secret" if kind.verify({}, b"", params) is not None else ""


async def _believed(
    source: str, kind: SourceType, params: Any, headers: Mapping[str, str], body: bytes, probe: Probe
) -> str | None:
    """What a message was that is not about alerts. What cannot be proven now is not believed, and may come again."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            if kind.prove is not None and (refused := await kind.prove(headers, body, params, probe)) is not None:
                raise Refused("signature", refused)
            return await kind.answer(headers, body, params, probe) if kind.answer is not None else None
    except TimeoutError:
        why, after = f"no answer within {probe.timeout_s:g} s", AGAIN_S
    except (Transient, Permanent) as error:
        why, after = str(error), getattr(error, "retry_after", None) or AGAIN_S
    _log.warning("webhook_unproven", source=source, why=why)
    raise Unavailable(f"the message cannot be believed now: {why}", retry_after=after)

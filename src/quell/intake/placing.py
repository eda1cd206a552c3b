"""What an alert is about and what follows from it, next to what is stored: service, runbook, group, meaning.

Reads, in the caller's transaction. Never does: write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from quell.errors import NotFound
from quell.incident.alert import Alert, AlertStatus
from quell.incident.incident import Incident
from quell.incident.service import Service, names_of, resolve_service
from quell.incident.silence import Silence
from quell.incident.tried import Tried
from quell.intake.correlate import (
    FLAPPING,
    Around,
    Hold,
    Known,
    Meaning,
    Nothing,
    Open,
    Reopen,
    alert_id,
    correlate,
    goes_on,
)
from quell.intake.group import Near, group_key, near_by_service, related, renamed, since
from quell.intake.matching import decide, spoken
from quell.intake.route import Route, route
from quell.intake.rules import Rules
from quell.intake.suppress import Other, Quiet, quiet
from quell.runbook.plan import Plan
from quell.store import queries, silences
from quell.store.events import to_us, when
from quell.store.schema import alerts

MOST_GONE = 20
"""Alerts of one name that resolved a moment ago."""
MOST_OTHERS = 2_000
"""Alerts that fire and are held against inhibition rules, the newest first."""

# Made once: building them anew for each alert of a storm cost a fifth of it.
_BELONGING = sa.select(alerts.c.alert, alerts.c.incident).where(alerts.c.incident.is_not(None))
_JUST_GONE = (
    _BELONGING.where(alerts.c.tenant == sa.bindparam("of"), alerts.c.name == sa.bindparam("called"))
    .where(alerts.c.changed_at >= sa.bindparam("begin"), alerts.c.status == AlertStatus.RESOLVED.value)
    .where(alerts.c.id != sa.bindparam("me"))
    .order_by(alerts.c.changed_at.desc())
    .limit(MOST_GONE)
)
_SELECT_ALERT = sa.select(alerts).where(alerts.c.id == sa.bindparam("id"))


@dataclass(frozen=True, slots=True)
class Placed:
    """An alert with its service, its runbook and what follows from it. ``row``: as it was stored before, if it was;
    ``again``: nothing new has come, it was only looked at again."""

    id: str
    alert: Alert
    service: str | None
    service_why: str
    route: Route
    group_key: str
    severity: str | None
    meaning: Meaning
    row: Mapping[str, Any] | None
    now: datetime
    tried: Sequence[Tried] = ()
    again: bool = False
    signature: str = ""
    times: int = 1
    """How often it was said, the last time as it is here."""

    @property
    def still_counts(self) -> bool:
        """Whether it is held on to, and what came now changes nothing about that."""
        flapping = self.row is not None and self.row["held"] == FLAPPING
        return flapping and isinstance(self.meaning, Nothing) and self.alert.status is AlertStatus.FIRING

    @property
    def held_as_before(self) -> bool:
        """Whether the same holds it still: nothing that anybody would have to be told."""
        before = self.row["held"] if self.row is not None else ""
        same = self.row is not None and self.row["status"] == self.alert.status.value
        return isinstance(self.meaning, Hold) and self.meaning.by == before and same


@dataclass(slots=True)
class Site:
    """What a site knows of itself."""

    services: Mapping[str, Service]
    rules: Rules = field(default_factory=Rules)
    _related: dict[str, tuple[dict[str, int], dict[str, int]]] = field(default_factory=dict)

    def related(self, service: str) -> tuple[dict[str, int], dict[str, int]]:
        if service not in self._related:
            self._related[service] = related(self.services, service)
        return self._related[service]


@dataclass(slots=True)
class Intake:
    """One transaction's look at what is stored. ``leaving``: what resolves in the same delivery."""

    connection: sa.Connection
    site: Site
    plans: Sequence[Plan]
    now: datetime
    leaving: Sequence[Alert] = ()
    _silences: dict[str, tuple[Silence, ...]] = field(default_factory=dict)

    def place(self, alert: Alert, *, again: bool = False, signature: str = "", times: int = 1) -> Placed:
        """Find out what an alert means. It is stored by ``belongs``, once its incident is known."""
        name = alert_id(alert)
        found = self.connection.execute(_SELECT_ALERT, {"id": name}).mappings().first()
        row = dict(found) if found is not None else None
        if row is not None and not alert.labels:
            alert = _as_known(alert, row["alert"])
        service, service_why = resolve_service(
            self.site.services.values(), alert.labels, alert.service, alert.environment
        )
        routed = route(alert, self.plans, names_of(self.site.services.values(), service))
        named = alert.service or alert.labels.get("service")
        if service is None and not named and routed.plan is not None and routed.plan.service:
            # The runbook's own service is a mapping that somebody wrote down; an alert that names another is not its.
            service, service_why = resolve_service(
                self.site.services.values(), {}, routed.plan.service, alert.environment
            )
            service_why = f"the runbook {routed.plan.id!r} is for it" if service else service_why
        tried = [Tried("service", service is not None, service_why)]
        severity, severity_why = self._severity(alert, routed, service)
        tried.append(Tried("severity", True, severity_why))
        key = group_key(self.site.rules.correlation.by, alert, service, routed.plan.id if routed.plan else None)
        hush = self._quiet(alert, service, name, tried) if alert.status is AlertStatus.FIRING else None
        tried += [Tried(f"runbook {one.runbook}", one.matches, one.why) for one in routed.candidates]
        tried.append(Tried("runbook", routed.plan is not None, routed.why))
        known = self._known(row) if row else None
        around = Around(
            now=self.now, known=known, group=self._group(alert.tenant, key), quiet=hush,
            rules=self.site.rules.correlation, again=again,
        )  # fmt: skip
        meaning = correlate(alert, around)
        if isinstance(meaning, Open | Reopen) and (near := self._near(alert, service, name)):
            meaning = correlate(alert, replace(around, near=near))
        tried.append(Tried("correlation", not isinstance(meaning, Nothing), meaning.reason))
        return Placed(
            name, alert, service, service_why, routed, key, severity, meaning, row, self.now,
            tuple(tried), again, signature, times,
        )  # fmt: skip

    def _severity(self, alert: Alert, routed: Route, service: str | None) -> tuple[str, str]:
        """As its source says; else as its runbook says; else by how near its service is to users."""
        if alert.severity is not None:
            return alert.severity.value, f"{alert.severity.value}, as its source says"
        if routed.plan is not None:
            return routed.plan.severity, f"{routed.plan.severity}, as runbook {routed.plan.id!r} says"
        if service is None:
            return "P3", "P3: neither its source nor a runbook says, and its service is not known"
        tier = self.site.services[service].tier
        severity = f"P{min(tier + 2, 4)}"
        return severity, f"{severity}: its source does not say, and {service} is of tier {tier}"

    def _quiet(self, alert: Alert, service: str | None, name: str, tried: list[Tried]) -> Quiet | None:
        rules, labels = self.site.rules, spoken(alert, service)
        if alert.tenant not in self._silences:
            self._silences[alert.tenant] = silences.active(self.connection, alert.tenant, to_us(self.now))
        fitting = any(decide(rule.target_matchers, labels)[0] for rule in rules.inhibit_rules)
        others = self._others(alert.tenant, name) if fitting else ()
        seen, found = quiet(rules, self._silences[alert.tenant], others, labels, self.now)
        tried += seen
        return found

    def _others(self, tenant: str, name: str) -> list[Other]:
        query = (
            sa.select(alerts.c.id, alerts.c.name, alerts.c.alert, alerts.c.service)
            .where(alerts.c.tenant == tenant, alerts.c.status == AlertStatus.FIRING.value, alerts.c.id != name)
            .order_by(alerts.c.last_at.desc())
            .limit(MOST_OTHERS)
        )
        rows = self.connection.execute(query)
        return [Other(row.id, row.name, spoken(Alert.model_validate_json(row.alert), row.service)) for row in rows]

    def _known(self, row: Mapping[str, Any]) -> Known:
        changes = tuple(when(at) for at in orjson.loads(row["changes"]))
        return Known(row["status"], self._incident(row["incident"]), row["held"], changes)

    def _group(self, tenant: str, key: str) -> Incident | None:
        return self._incident(queries.newest_incident_for(self.connection, tenant, key))

    def _incident(self, incident: str | None) -> Incident | None:
        """As it is now; of one that was merged, the one that it goes on in."""
        try:
            found = queries.incident(self.connection, incident) if incident else None
            while found is not None and found.merged_into is not None:
                found = queries.incident(self.connection, found.merged_into)
        except NotFound:
            return None
        return found

    def _near(self, alert: Alert, service: str | None, name: str) -> list[Near]:
        rules = self.site.rules.correlation
        begin = since(self.now, rules.window)
        gone = self._just_gone(alert, begin, name)
        found = renamed(
            alert, [(one, known) for one, known in gone if known is not None and goes_on(known, self.now, rules.reopen)]
        )
        if service is not None and rules.dependencies:
            needed, needed_by = self.site.related(service)
            if needed or needed_by:
                place = (alert.tenant, alert.environment, alert.region)
                names = [*needed, *needed_by]
                incidents = queries.open_incidents_of(self.connection, place, names, to_us(begin))
                found += near_by_service(service, needed, needed_by, incidents, begin)
        return found

    def _just_gone(self, alert: Alert, begin: datetime, name: str) -> list[tuple[Alert, Incident | None]]:
        """Alerts of that name that resolved a moment ago, or resolve in the same delivery, with their open incident."""
        leaving = {alert_id(one) for one in self.leaving if one.name == alert.name} - {name}
        asked = {"of": alert.tenant, "called": alert.name, "begin": to_us(begin), "me": name}
        rows = [*self.connection.execute(_JUST_GONE, asked)]
        if leaving:
            rows += self.connection.execute(_BELONGING.where(alerts.c.id.in_(leaving)).limit(MOST_GONE))
        return [(Alert.model_validate_json(row.alert), self._incident(row.incident)) for row in rows]


def _as_known(alert: Alert, stored: str) -> Alert:
    """A later word that names an alert by its fingerprint alone, without saying again what it is."""
    known = Alert.model_validate_json(stored)
    same = ("name", "service", "severity", "labels", "annotations", "starts_at", "url")
    return alert.model_copy(update={field: getattr(known, field) for field in same})

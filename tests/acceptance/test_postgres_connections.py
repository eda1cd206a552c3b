"""From a full PostgreSQL to a verified fix: server, exporter, Prometheus, Alertmanager and Quell, all of them real."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
import pytest

from quell.incident.event import Event
from quell.incident.event import EventKind as Kind
from quell.incident.incident import Status
from tests.acceptance.database import DATABASE, LEAKING, OTHER, Held, Payments, payments_server
from tests.acceptance.quell import Quell, in_order, only, quicker, story
from tests.acceptance.watched import watched
from tests.servers.postgres import Postgres
from tests.servers.postgres_exporter import PostgresExporter
from tests.servers.prometheus import Prometheus

IDLE_S = 1.0
CAP = 6
FORGOTTEN = 11
RUNBOOK = {
    "idle_for: 5m": f"idle_for: {IDLE_S:g}s", "CONNECTION LIMIT 20": f"CONNECTION LIMIT {CAP}",
    "stable_for: 2m": "stable_for: 1s", "within: 8m": "within: 15s",
}  # fmt: skip


@dataclass
class Site:
    server: Postgres
    prometheus: Prometheus
    port: int


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """All but Quell, which each test starts on the port that Alertmanager knows."""
    quell = Quell()
    with (
        payments_server() as server,
        PostgresExporter(server.url(user="monitor")) as exporter,
        watched(exporter.address, "postgres.yml", quell.webhook) as prometheus,
    ):
        yield Site(server, prometheus, quell.port)


@pytest.fixture
def payments(site: Site) -> Iterator[Payments]:
    payments = Payments(site.server)
    try:
        yield payments
    finally:
        payments.release()


def quell_for(site: Site, runbook: str) -> Quell:
    settings = {
        "services": {"payments-db": {"owner": "dba"}},
        "connections": {
            "prometheus": {"type": "prometheus", "url": site.prometheus.url},
            "payments": {"type": "postgresql", "url": site.server.url(DATABASE, "quell")},
            "payments-reserved": {"type": "postgresql", "url": site.server.url(DATABASE, "quell_reserved")},
        },
    }  # fmt: skip
    return Quell(site.port).configured(settings, {"postgres-connections.yaml": runbook})


def fill(payments: Payments) -> tuple[list[Held], list[Held]]:
    """Takes every ordinary slot. The forgotten transactions, and the sessions that nobody may touch."""
    forgotten = payments.leave_open(LEAKING, FORGOTTEN)
    innocent = [
        payments.session(LEAKING, "pg_dump", in_transaction=True),
        payments.session(OTHER, in_transaction=True),
    ]
    payments.wait_until_forgotten(len(forgotten) + len(innocent), IDLE_S)
    innocent.append(payments.session(LEAKING, in_transaction=False))
    busy = payments.session(LEAKING, in_transaction=True)
    payments.keep_busy(busy)
    # Whatever slot somebody had for a moment while these were opened is taken too.
    with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
        take_the_rest(payments, innocent)
    return forgotten, [*innocent, busy]


def take_the_rest(payments: Payments, innocent: list[Held]) -> None:
    for _ in range(5):
        innocent.append(payments.session(OTHER, in_transaction=False, patient=False))


def test_exhausted_by_forgotten_transactions(site: Site, payments: Payments) -> None:
    with quell_for(site, quicker("postgres-connections.yaml", RUNBOOK)) as quell:
        forgotten, innocent = fill(payments)
        incident = quell.opens()
        ended = quell.ends(incident)
        assert ended.outcome == "resolved", story(quell.timeline(incident))

        # The database: the offending sessions are gone, everybody else lives, the role is held.
        assert not payments.pids() & {one.pid for one in forgotten}
        assert {one.pid for one in innocent} <= payments.pids()
        assert not any(one.lives for one in forgotten)
        assert all(one.lives for one in innocent[:3])
        assert payments.limit(LEAKING) == CAP
        assert payments.limit(OTHER) == -1
        payments.session("quell", in_transaction=False)
        with pytest.raises(psycopg.OperationalError, match=f'too many connections for role "{LEAKING}"'):
            payments.leave_open(LEAKING, CAP)

        # The incident.
        assert (ended.status, ended.outcome, ended.verdict) == (Status.RESOLVED, "resolved", "recovered")
        assert ended.firing == ()
        assert len(ended.obligations) == 1
        assert not ended.escalated_to
        _reads_right(quell, incident, payments)

        # What a person is shown, in the terminal and on the page.
        shown = quell.printed("incidents", "show", incident)
        assert shown.startswith("Resolved")
        for text in (shown, quell.printed("incidents", "timeline", incident)):
            assert f"CONNECTION LIMIT {CAP}" in text
            assert f"ended {FORGOTTEN} sessions on payments-reserved" in text
        assert f"ended {FORGOTTEN} sessions on payments-reserved" in quell.page(f"/incidents/{incident}")
        assert incident in quell.page("/")


def test_a_cap_that_does_not_help_is_taken_back(site: Site, payments: Payments) -> None:
    """The cap is too wide: the pool comes back and leaks as before. Nothing is better, so the old limit returns."""
    payments.server.execute(f"ALTER ROLE {LEAKING} CONNECTION LIMIT 18")
    runbook = quicker(
        "postgres-connections.yaml",
        {**RUNBOOK, "CONNECTION LIMIT 20": "CONNECTION LIMIT 20", "within: 8m": "within: 6s"},
    )
    with quell_for(site, runbook) as quell:
        before = payments.leak_again_and_again(LEAKING, FORGOTTEN)
        payments.wait_until_forgotten(FORGOTTEN, IDLE_S)
        others = [payments.session(OTHER, in_transaction=False) for _ in range(4)]
        incident = quell.opens()
        ended = quell.ends(incident)
        paged = quell.told(incident, Kind.NOTIFIED, level=1)  # paging goes on by itself when the run has ended
        log = quell.timeline(incident)
        assert (ended.outcome, ended.verdict) == ("escalated", "unchanged"), story(log)
        assert (paged.payload["to"], paged.payload["delivered"]) == ("pagerduty:payments", True)

        assert not payments.pids() & before
        assert all(one.lives for one in others)
        assert payments.limit(LEAKING) == 18
        capped, uncapped = (one for one in log if one.kind is Kind.ACTION_INTENDED and "ALTER" in one.payload["call"])
        assert f'"{LEAKING}" CONNECTION LIMIT 20' in capped.payload["call"]
        assert f'"{LEAKING}" CONNECTION LIMIT 18' in uncapped.payload["call"]
        told = only(log, Kind.VERIFICATION_FINISHED, verdict="unchanged")
        assert in_order(capped, told, uncapped, only(log, Kind.ESCALATED), paged)
        assert quell.faults() == []


def _reads_right(quell: Quell, incident: str, payments: Payments) -> None:
    """The log tells what happened: evidence, decision, intent before effect, verdict, end."""
    log = quell.timeline(incident)
    opened = only(log, Kind.OPENED, source="alertmanager", service="payments-db", runbook="payments-connections")
    findings = {one.payload["finding"]["check"]: one for one in log if one.kind is Kind.CHECK_FINISHED}
    assert {name: one.payload["finding"]["status"] for name, one in findings.items()} == {
        "used": "critical", "admission": "critical", "leak": "critical",
    }  # fmt: skip
    used, admission, leak = (findings[name].payload["finding"] for name in ("used", "admission", "leak"))
    assert used["facts"]["value"] >= 95
    assert admission["facts"]["error_class"] == "exhausted"
    assert (leak["facts"]["first"]["usename"], leak["facts"]["first"]["n"]) == (LEAKING, FORGOTTEN)

    decided = only(log, Kind.DECIDED)
    assert decided.payload["reason"].startswith("leak.critical → true; used.critical → true")

    cap, capped = _deed(log, "run_script")
    ending, ended = _deed(log, "terminate_sessions")
    assert f'"{LEAKING}" CONNECTION LIMIT {CAP}' in cap.payload["call"]
    assert ending.payload["magnitude"] == FORGOTTEN
    assert ended.payload["output"]["count"] == FORGOTTEN
    altered = payments.logged(rf'ALTER ROLE "?{LEAKING}"? CONNECTION LIMIT {CAP}')
    assert cap.at.timestamp() < altered + 0.002, "PostgreSQL's log is rounded to milliseconds"
    assert altered < capped.at.timestamp() + 0.002

    obliged = only(log, Kind.OBLIGATION_MADE, owner="dba")
    watching = only(log, Kind.VERIFICATION_STARTED)
    calm = only(log, Kind.ALERT_RESOLVED)
    told = only(log, Kind.VERIFICATION_FINISHED, verdict="recovered")
    resolved = only(log, Kind.RESOLVED, verdict="recovered")
    assert {name: one["now"] for name, one in told.payload["signals"].items()} == dict.fromkeys(
        ("trigger", "used", "admission", "leak"), "healthy"
    )
    looked = sorted(findings.values(), key=lambda one: one.seq)
    assert in_order(
        opened, only(log, Kind.RUN_STARTED), *looked, decided, cap, capped, ending, ended, obliged, watching, told,
        resolved, only(log, Kind.RUN_ENDED),
    )  # fmt: skip
    assert in_order(ended, calm, told), "Alertmanager itself said that it is over, and that was waited for"
    assert quell.faults() == []


def _deed(log: Sequence[Event], action: str) -> tuple[Event, Event]:
    """Its intent and its end."""
    return only(log, Kind.ACTION_INTENDED, action=action), only(log, Kind.ACTION_FINISHED, action=action, result="done")

"""From a bad release behind HAProxy to a verified rollback, with users who never stop buying; every part is real."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quell.incident.event import EventKind as Kind
from quell.incident.incident import Status
from tests.acceptance.quell import Quell, in_order, only, quicker, story
from tests.acceptance.shop import REPLICAS, Shop, Users, shop
from tests.acceptance.watched import watched
from tests.servers.process import wait_until
from tests.servers.prometheus import Prometheus

RUNBOOK = {"stable_for: 1m": "stable_for: 1s", "within: 10m": "within: 20s"}
PASSWORD_VARIABLE = "QUELL_TEST_SUPERVISOR_PASSWORD"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path) as made:
        yield made


def quell_for(site: Shop, prometheus: Prometheus, quell: Quell) -> Quell:
    health = {name: f"http://127.0.0.1:{port}/health" for name, port in zip(REPLICAS, site.ports, strict=True)}
    supervisor = site.supervisord
    drivers = [
        {"type": "supervisord", "url": f"http://{supervisor.address}", "username": supervisor.username,
         "password": f"env:{PASSWORD_VARIABLE}", "group": "shop", "health": health},
        {"type": "haproxy", "socket": str(site.haproxy.socket), "backend": "shop", "drain_within": "5s"},
        {"type": "releases", "path": str(site.folder / "releases"), "current": str(site.current)},
    ]  # fmt: skip
    settings = {
        "services": {"shop": {"owner": "team-shop", "drivers": drivers}},
        "connections": {"prometheus": {"type": "prometheus", "url": prometheus.url}},
    }
    # The queries of the example look back a minute; what is scraped five times a second shows itself sooner.
    runbook = quicker("haproxy-bad-deploy.yaml", RUNBOOK).replace("[1m]", "[2s]")
    return quell.configured(settings, {"haproxy-bad-deploy.yaml": runbook})


def test_bad_deploy_is_rolled_back_one_by_one(site: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, site.supervisord.password)
    quell = Quell()
    with (
        watched(site.metrics, "shop.yml", quell.webhook) as prometheus,
        quell_for(site, prometheus, quell),
        Users(site) as users,
    ):
        _well(prometheus, users)
        site.deploy("v2")
        assert site.versions() == ["v2"] * 3

        incident = quell.opens()
        ended = quell.ends(incident)
        log = quell.timeline(incident)
        assert (ended.outcome, ended.verdict) == ("resolved", "recovered"), story(log)
        assert ended.status is Status.RESOLVED

        # The users: bad before, served by at least two replicas at every moment, well afterwards.
        assert site.versions() == ["v1"] * 3
        assert site.current.resolve().name == "v1"
        rolled = only(log, Kind.ACTION_FINISHED, action="rollback", result="done")
        began = only(log, Kind.ACTION_INTENDED, action="rollback").at.timestamp()
        _well_again(users, rolled.at.timestamp())
        assert users.failures == []
        assert users.statuses(began - 1, began)[500] > 0
        counts = users.counts(began, rolled.at.timestamp())
        assert set(counts) == {2, 3}, counts
        assert counts[2] >= 3, "each replica was away for a while"
        assert set(users.statuses(began, time.time())) <= {200, 500}

        _reads_right(quell, incident)


def _well(prometheus: Prometheus, users: Users) -> None:
    """Prometheus has seen users served well, for as long as its rules look back."""
    rate = 'sum(rate(haproxy_backend_http_responses_total{proxy="shop",code="2xx"}[2s])) > 10'
    wait_until(lambda: prometheus.value(f"min_over_time(({rate})[2s:200ms])") is not None, "users", 15)
    assert set(users.statuses(0, time.time())) == {200}


def _well_again(users: Users, since: float) -> None:
    served = len(users.answers)
    wait_until(lambda: len(users.answers) > served + 100, "users", 10)
    assert set(users.statuses(since + 0.1, time.time())) == {200}


def _reads_right(quell: Quell, incident: str) -> None:
    """The log tells what happened: evidence, decision, intent before effect, verdict, end."""
    log = quell.timeline(incident)
    opened = only(log, Kind.OPENED, source="alertmanager", service="shop", runbook="shop-bad-deploy")
    findings = {
        one.payload["finding"]["check"]: one.payload["finding"] for one in log if one.kind is Kind.CHECK_FINISHED
    }
    assert {name: one["status"] for name, one in findings.items()} == {
        "errors": "critical", "deploy": "critical", "before": "healthy", "replicas": "healthy",
    }  # fmt: skip
    assert findings["errors"]["facts"]["value"] > 5
    assert findings["before"]["facts"]["value"] == 0
    deploy = findings["deploy"]["facts"]
    assert (deploy["version"], deploy["previous"]["version"], deploy["age"] < 60) == ("v2", "v1", True)

    decided = only(log, Kind.DECIDED)
    assert "deploy.age" in decided.payload["reason"]
    intended = only(log, Kind.ACTION_INTENDED, action="rollback")
    assert intended.payload["targets"] == [f"shop/{name}" for name in REPLICAS]
    rolled = only(log, Kind.ACTION_FINISHED, action="rollback", result="done")
    assert rolled.payload["output"]["to"] == "v1"
    said = " ".join(rolled.payload["output"]["said"])
    places = [said.index(words) for name in REPLICAS
              for words in (f"shop/{name} drained", f"supervisord restarted {name}", f"shop/{name} UP")]  # fmt: skip
    assert places == sorted(places), said

    told = only(log, Kind.VERIFICATION_FINISHED, verdict="recovered")
    calm = only(log, Kind.ALERT_RESOLVED)
    assert in_order(
        opened, only(log, Kind.RUN_STARTED), decided, intended, rolled, only(log, Kind.VERIFICATION_STARTED), told,
        only(log, Kind.RESOLVED, verdict="recovered"), only(log, Kind.RUN_ENDED),
    )  # fmt: skip
    assert in_order(rolled, calm, told), "Alertmanager itself said that it is over, and that was waited for"
    assert quell.faults() == []

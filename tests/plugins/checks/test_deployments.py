"""The deployments check over release folders, tables and a Kubernetes API."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.incident.service import DriverChoice, Service
from quell.plugins.checks import deployments
from quell.ports import Connection, Reading
from tests.fakes.kubernetes import FakeKubernetes
from tests.plugins.checks.reading import at, read
from tests.servers.process import wait_until

NOW = 1_800_000_000.0
MINUTE, HOUR = 60.0, 3600.0


def folders(root: Path, live_for: float = 600.0) -> dict[str, str]:
    """Three releases, 3 h, 2 h and 10 min old; the newest is current, live for ``live_for`` seconds."""
    for version, age, note in (
        ("v1", 3 * HOUR, {}),
        ("v2", 2 * HOUR, {"by": "ann"}),
        ("v3", 10 * MINUTE, {"by": "bob", "migrations_reversible": False}),
    ):
        (root / "releases" / version).mkdir(parents=True)
        (root / "releases" / version / "RELEASE.json").write_text(json.dumps({"deployed_at": NOW - age, **note}))
    link(root, "v3", live_for)
    return {"path": str(root / "releases"), "current": str(root / "current")}


def link(root: Path, version: str, live_for: float) -> None:
    (root / "current").unlink(missing_ok=True)
    (root / "current").symlink_to(root / "releases" / version)
    os.utime(root / "current", (NOW - live_for, NOW - live_for), follow_symlinks=False)


def look(config: dict[str, Any], *connections: Connection, **options: Any) -> Reading:
    return read(deployments, config, *connections, **{"clock": lambda: at(NOW), **options})


def test_release_folders(tmp_path: Path) -> None:
    reading = look(folders(tmp_path))
    facts = reading.facts
    assert (facts["version"], facts["by"], facts["migrations_reversible"]) == ("v3", "bob", False)
    assert facts["age"] == pytest.approx(600)
    assert facts["started_at"] == pytest.approx(NOW - 600)
    assert facts["previous"] == {
        "exists": True, "version": "v2", "current": False, "by": "ann", "note": "", "at": NOW - 2 * HOUR,
    }  # fmt: skip
    assert [one["version"] for one in facts["releases"]] == ["v3", "v2", "v1"]
    assert facts["count_recent"] == 1
    assert facts["no_recent_deploy"] is False
    within = {name: facts[f"deploy_within_{name}"] for name in deployments.WITHIN}
    assert within == {
        "5m": False, "10m": True, "15m": True, "30m": True, "60m": True, "1h": True, "2h": True, "24h": True,
    }  # fmt: skip
    assert "nobody here knows" in reading.missing["rolling"].reason


def test_the_window_is_the_author_s(tmp_path: Path) -> None:
    config = folders(tmp_path)
    wide, narrow = (look({**config, "window": span}).facts for span in ("150m", "5m"))
    assert (wide["count_recent"], wide["no_recent_deploy"]) == (2, False)
    assert (narrow["count_recent"], narrow["no_recent_deploy"]) == (0, True)


def test_after_a_rollback_the_age_is_new_and_there_is_no_previous(tmp_path: Path) -> None:
    config = folders(tmp_path)
    link(tmp_path, "v2", 30)
    facts = look(config).facts
    assert (facts["version"], facts["previous"]["exists"]) == ("v2", False)
    assert "older than v3: it was rolled back to already" in facts["previous"]["note"]
    assert facts["age"] == pytest.approx(30)
    assert facts["deploy_within_5m"] is True
    assert facts["count_recent"] == 2


def test_the_first_release_has_none_before_it(tmp_path: Path) -> None:
    config = folders(tmp_path)
    link(tmp_path, "v1", 30)
    reading = look(config)
    assert reading.facts["previous"]["exists"] is False
    assert reading.missing["migrations_reversible"].reason == "release v1 does not say"


def test_nothing_known_is_missing_and_never_no_recent_deploy(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    reading = look({"path": str(tmp_path / "releases"), "current": str(tmp_path / "current")})
    for name in ("age", "version", "previous", "no_recent_deploy", "deploy_within_30m"):
        assert reading.missing[name].reason == "no release is known"
        assert reading.missing[name].error_class is None
    config = folders(tmp_path / "more")
    (tmp_path / "more" / "current").unlink()
    assert "none of the releases" in look(config).missing["age"].reason


def test_a_service_of_the_catalogue(tmp_path: Path) -> None:
    service = Service(
        name="payment", aliases=("pay",), drivers=(DriverChoice(type="releases", **folders(tmp_path)),)
    )  # fmt: skip
    reading = look({"service": "pay"}, services=[service])
    assert reading.facts["version"] == "v3"
    assert "rolling" in reading.missing
    with pytest.raises(Permanent) as failure:
        look({"service": "other"}, services=[service])
    assert failure.value.error_class == "missing"


def test_kubernetes() -> None:
    with FakeKubernetes() as cluster:
        cluster.add_deployment("payment", "shop/payment:1", replicas=1)
        wait_until(lambda: cluster.settled("payment"), "the rollout")
        service = Service(
            name="payment", drivers=(DriverChoice(type="kubernetes", deployment="payment", url=cluster.url),)
        )
        reading = look({"service": "payment"}, services=[service], clock=lambda: datetime.now(UTC))
    assert (reading.facts["version"], reading.facts["rolling"]) == ("shop/payment:1", False)
    assert 0 <= reading.facts["age"] < 300
    assert reading.facts["previous"]["exists"] is False


@pytest.fixture
def table(tmp_path: Path) -> Connection:
    path = tmp_path / "deploys.db"
    with sqlite3.connect(path) as session:
        session.execute("create table deployments (service, version, deployed_at, deployed_by)")
        session.executemany(
            "insert into deployments values (?, ?, ?, ?)",
            [
                ("payment", "v1", at(NOW - 5 * HOUR).isoformat(), "ann"),
                ("other", "x9", at(NOW - 1).isoformat(), "eve"),
                ("payment", "v2", at(NOW - 50 * MINUTE).isoformat(), "bob"),
                ("payment", "v3", at(NOW - 20 * MINUTE).isoformat(), "bob"),
            ],
        )
        session.execute("create table rel (v, at integer, ok integer)")
        session.execute("insert into rel values ('r1', ?, 1)", (int(NOW) - 90,))
        session.execute("create table broken (version, deployed_at, deployed_by)")
        session.execute("insert into broken values ('r1', 'yesterday', '')")
        session.execute("create table empty (version, deployed_at, deployed_by)")
    return Connection("deploys", "sqlite", str(path))


def test_a_table_of_deployments(table: Connection) -> None:
    facts = look({"database": "deploys", "where": "payment"}, table).facts
    assert (facts["version"], facts["by"], facts["previous"]["version"]) == ("v3", "bob", "v2")
    assert facts["age"] == pytest.approx(20 * MINUTE)
    assert facts["count_recent"] == 2


def test_a_row_that_brings_back_an_old_version_is_a_rollback(table: Connection) -> None:
    with sqlite3.connect(table.url) as session:
        session.execute(
            "insert into deployments values (?, ?, ?, ?)", ("payment", "v2", at(NOW - 60).isoformat(), "cat")
        )
    facts = look({"database": "deploys", "where": "payment"}, table).facts
    assert (facts["version"], facts["by"], facts["previous"]["exists"]) == ("v2", "cat", False)
    assert facts["age"] == pytest.approx(60)
    assert facts["count_recent"] == 3
    assert [(one["version"], NOW - one["at"]) for one in facts["releases"]] == [
        ("v3", 20 * MINUTE), ("v2", 50 * MINUTE), ("v1", 5 * HOUR),
    ]  # fmt: skip


def test_columns_have_the_names_they_have(table: Connection) -> None:
    columns = {"version": "v", "deployed_at": "at", "deployed_by": "", "migrations_reversible": "ok"}
    facts = look({"database": "deploys", "table": "rel", "columns": columns}, table).facts
    assert (facts["version"], facts["age"], facts["migrations_reversible"]) == ("r1", pytest.approx(90), True)


@pytest.mark.parametrize(
    ("config", "error_class"),
    [({"table": "broken"}, "invalid"), ({"table": "nowhere"}, "invalid"), ({"database": "other"}, "missing")],
)
def test_a_table_that_does_not_fit_is_an_error(table: Connection, config: dict[str, Any], error_class: str) -> None:
    with pytest.raises(Permanent) as failure:
        look({"database": "deploys", **config}, table)
    assert failure.value.error_class in (error_class, "failed", "missing")


def test_an_empty_table_is_not_an_error(table: Connection) -> None:
    assert look({"database": "deploys", "table": "empty"}, table).missing["age"].reason == "no release is known"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"service": "a", "database": "b"},
        {"path": "/a"},
        {"database": "a", "table": "t; drop table t"},
        {"database": "a", "columns": {"version": "v, (select 1)"}},
        {"database": "a", "columns": {"versio": "v"}},
        {"database": "a", "columns": {"version": ""}},
        {"database": "a", "where": "x", "columns": {"service": ""}},
        {"service": "a", "window": "0s"},
        {"service": "a", "window": "soon"},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        deployments.Params.model_validate(wrong)


def test_a_clock_that_runs_behind_gives_no_negative_age(tmp_path: Path) -> None:
    config = folders(tmp_path, live_for=-30)
    assert look(config).facts["age"] == 0

"""The configuration: every problem with its place, secrets by reference, nothing unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.errors import InvalidInput
from quell.settings import ServerSettings, Settings, load_settings, parse_settings


def parse(text: str) -> Settings:
    return parse_settings(text, "quell.yaml", Path("/srv"))


def test_nothing_written_means_the_defaults() -> None:
    assert load_settings(None) == Settings()
    assert parse("").server.port == 8470


def test_every_problem_is_reported_with_its_place() -> None:
    with pytest.raises(InvalidInput) as wrong:
        parse("databse: x\nserver: {port: 99999}\nengine: {lease: soon}\n")
    problems = {problem.path: problem for problem in wrong.value.problems}
    assert set(problems) == {"databse", "server.port", "engine.lease"}
    assert (problems["databse"].nearest, problems["databse"].line) == ("database", 1)
    assert (problems["server.port"].file, problems["server.port"].line) == ("quell.yaml", 2)


def test_the_nearest_key_is_told_below_names_that_people_choose() -> None:
    with pytest.raises(InvalidInput) as wrong:
        parse("services: {shop: {teir: 1}}\nsources: {am: {expect: {every: 5m, severty: P1}}}\n"
              "guardrails: {actions: {run_script: {alow: false}}}\nrate_limit: {tenants: {acme: {queue: 3}}}\n")  # fmt: skip
    near = {problem.path: (problem.nearest, (problem.expected or "")[:7]) for problem in wrong.value.problems}
    assert near == {
        "services.shop.teir": ("tier", "one of "), "sources.am.expect.severty": ("severity", "one of "),
        "guardrails.actions.run_script.alow": ("allow", "one of "),
        "rate_limit.tenants.acme.queue": ("queue_size", "one of "),
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["- a list", "guardrails: {actions: {run_script: {rate: often}}}", "server: {host: 0.0.0.0, insecure: true}",
     "services: {shop: {tier: 99}}", "a: [", "services: {shop: {regions: [eu], driver: {type: releases, region: us}}}", "guardrails: {approval_from_risk: huge}"],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


def test_paths_are_relative_to_the_file() -> None:
    assert parse("runbooks: books").runbook_paths == [Path("/srv/books")]
    assert parse("runbooks: [/a, b]").runbook_paths == [Path("/a"), Path("/srv/b")]


def test_a_driver_is_short_for_drivers() -> None:
    service = parse("services: {shop: {driver: {type: systemd, unit: shop.service}, tier: 0}}").catalogue["shop"]
    assert (service.name, service.tier) == ("shop", 0)
    assert [(one.type, one.config) for one in service.drivers] == [("systemd", {"unit": "shop.service"})]


def test_secrets_are_resolved_and_every_lost_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    found = parse("connections: {p: {type: http, url: 'http://x', token: 'env:SHOP_TOKEN'}}").resolved_connections()
    assert found["p"].headers == {"Authorization": "Bearer s3cret"}
    lost = parse("connections: {p: {type: http, token: 'env:NOT_A'}, q: {type: http, headers: {X: 'env:NOT_B'}}}")
    with pytest.raises(InvalidInput) as wrong:
        lost.resolved_connections()
    assert [problem.path for problem in wrong.value.problems] == ["connections.p", "connections.q"]
    assert "s3cret" not in str(found["p"])


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_settings(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput):
        load_settings(tmp_path / "bytes.yaml")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_nobody_is_asked_only_where_nobody_else_comes(host: str) -> None:
    assert ServerSettings(host=host, insecure=True).insecure
    assert not ServerSettings(host=host).insecure


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "quell.example", ""])
def test_insecure_is_for_loopback(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        ServerSettings(host=host, insecure=True)
    assert ServerSettings(host=host).token is None, "there everybody is asked"


def test_insecure_and_a_token_contradict() -> None:
    with pytest.raises(ValueError, match="guard nothing"):
        ServerSettings(insecure=True, token="env:X")

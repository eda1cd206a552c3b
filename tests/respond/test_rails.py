"""The guardrails as they are written: what is special replaces what it names, and a rule of nothing is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quell.errors import InvalidInput
from quell.incident.action import Risk
from quell.ports import Command
from quell.respond.rails import ActionWords, Guardrails
from quell.settings import parse_settings


def rails(text: str) -> Guardrails:
    return parse_settings(f"guardrails: {text}", "quell.yaml", Path("/srv")).guardrails


def named(text: str, services: tuple[str, ...] | None = ("shop", "mail")) -> Guardrails:
    words = {"restart": ActionWords("restart_service", {"deployment": "service", "service": "service"}),
             "restart_service": ActionWords("restart_service", {"service": "service"}),
             "rollback": ActionWords("rollback", {"to": "to"})}  # fmt: skip
    found = rails(text)
    return found.named_by({name: words[name] for name in found.named_actions if name in words}, list(words), services)


def test_from_what_ships_to_the_class_to_the_action_to_the_place() -> None:
    found = rails("""
      risks: {medium: {rate: 5/1h, requires_approval: true}}
      actions: {restart_service: {requires_approval: false}}
      overrides:
      - {environments: [staging], actions: {restart_service: {rate: 50/1h}}, approval_from_risk: high}
      - {tenants: [acme], environments: [staging], default_allow: false, breaker: {after: 9}}
    """)
    at_home = found.of("default", "production")
    assert at_home is found
    rule = at_home.rule("restart_service", Risk.MEDIUM)
    assert (rule.rate, rule.requires_approval) == ("5/1h", False)
    assert at_home.rule("restart_service").rate == "2/10m"
    assert at_home.rule("scale_up", Risk.MEDIUM).max_magnitude == 3
    staging = found.of("default", "staging")
    assert staging.rule("restart_service", Risk.MEDIUM).rate == "50/1h"
    assert (staging.approval_from_risk, staging.default_allow) == (Risk.HIGH, True)
    acme = found.of("acme", "staging")
    assert (acme.default_allow, acme.breaker.after, acme.breaker.within) == (False, 9, 86_400)
    assert acme.rule("restart_service").allow
    assert not acme.rule("run_script").allow
    assert found.of("acme", "production") == found


def test_a_class_may_be_forbidden_and_one_action_of_it_allowed() -> None:
    found = rails("{risks: {high: {allow: false}}, actions: {run_script: {allow: true}}}")
    assert not found.rule("job", Risk.HIGH).allow
    assert found.rule("run_script", Risk.HIGH).allow


def test_the_radius_of_one_action_says_only_what_it_says() -> None:
    found = rails("{blast_radius: {targets: 3, share: 50%}, actions: {rollback: {blast_radius: {targets: 1}}}}")
    own = found.rule("rollback").blast_radius
    assert own is not None
    assert (own.targets, own.share, own.keep_last) == (1, 0.5, True)
    assert found.rule("restart_service").blast_radius == found.blast_radius
    assert found.blast_radius.targets == 3


def test_names_become_the_actions_own_everywhere() -> None:
    found = named("""
      actions: {restart: {rate: 1/1h, parameters: {deployment: {one_of: [shop]}}}}
      freezes: [{name: sale, from: 2026-11-27, for: 3d, actions: [restart], exempt: [rollback], services: [shop]}]
      hours: [{name: day, from: 2026-01-01T08:00, for: 9h, repeat: FREQ=DAILY, actions: [restart]}]
      overrides: [{tenants: [acme], actions: {restart: {allow: false}}}]
    """)
    assert list(found.actions) == ["restart_service"]
    assert list(found.actions["restart_service"].parameters) == ["service"]
    assert (found.freezes[0].actions, found.freezes[0].exempt) == (("restart_service",), ("rollback",))
    assert found.hours[0].actions == ("restart_service",)
    assert list(found.overrides[0].actions) == ["restart_service"]


@pytest.mark.parametrize(
    ("text", "path", "near"),
    [
        ("{actions: {rolback: {}}}", "actions.rolback", "rollback"),
        ("{actions: {rollback: {parameters: {too: {}}}}}", "actions.rollback.parameters.too", "to"),
        ("{freezes: [{name: x, from: 2026-01-01, for: 1d, exempt: [rollbak]}]}", "freezes[0].exempt[0]", "rollback"),
        ("{freezes: [{name: x, from: 2026-01-01, for: 1d, services: [shpo]}]}", "freezes[0].services[0]", "shop"),
        ("{hours: [{name: x, from: 2026-01-01, for: 1d, actions: [restar]}]}", "hours[0].actions[0]", "restart"),
        ("{overrides: [{tenants: [a], actions: {rolback: {}}}]}", "overrides[0].actions.rolback", "rollback"),
        ("{ownership: {also: {platform: [mial]}}}", "ownership.also.platform[0]", "mail"),
    ],
)
def test_a_rule_of_nothing_is_an_error_with_its_place(text: str, path: str, near: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        named(text)
    assert [(one.path, one.nearest) for one in wrong.value.problems] == [(f"guardrails.{path}", near)]


def test_without_a_catalogue_services_are_held_against_nothing() -> None:
    assert named("{ownership: {also: {platform: [mial]}}}", services=None).ownership.also == {"platform": ("mial",)}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{blast_radius: {share: 150%}}", "guardrails.blast_radius.share"),
        ("{blast_radius: {share: 50}}", "guardrails.blast_radius.share"),
        ("{blast_radius: {targets: 0}}", "guardrails.blast_radius.targets"),
        ("{breaker: {after: 0}}", "guardrails.breaker.after"),
        ("{breaker: {counts: [succeeded]}}", "guardrails.breaker.counts[0]"),
        ("{overrides: [{default_allow: false}]}", "guardrails.overrides[0]"),
        ("{freezes: [{from: 2026-01-01, for: 1d}]}", "guardrails.freezes[0].name"),
        ("{freezes: [{name: x, from: 2026-01-01}]}", "guardrails.freezes[0]"),
        ("{freezes: [{name: x, from: 2026-01-01, for: 1d, repeat: weekly}]}", "guardrails.freezes[0]"),
        ("{hours: [{name: x, from: 2026-01-01, for: 1d, timezone: Zurich}]}", "guardrails.hours[0].timezone"),
        ("{frezes: []}", "guardrails.frezes"),
        ("{risks: {hihg: {allow: false}}}", "guardrails.risks"),
    ],
)
def test_what_cannot_be_meant_stops_the_start(text: str, path: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        rails(text)
    assert any(one.path.startswith(path) for one in wrong.value.problems), [one.path for one in wrong.value.problems]


def test_the_examples_of_the_documentation_hold(tmp_path: Path) -> None:
    """Every rule once, as a site would write them together."""
    found: Any = rails("""
      approval_from_risk: high
      risks: {irreversible: {allow: false}}
      actions:
        restart_service: {rate: 2/10m, blast_radius: {share: 34%}}
        run_script: {parameters: {command: {pattern: '.*'}}}
      blast_radius: {targets: 3, regions: 1, tenants: 1}
      freezes:
      - {name: end of the year, from: 2026-12-20, until: 2027-01-05, timezone: Europe/Zurich, exempt: [rollback]}
      hours:
      - {name: office, from: 2026-01-05T08:00, for: 10h, repeat: 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR', actions: [failover_db]}
      breaker: {after: 3, within: 12h, counts: [done, failed]}
      ownership: {also: {platform: ['*']}}
      overrides: [{environments: [staging], approval_from_risk: irreversible}]
    """)
    assert found.of("default", "staging").approval_from_risk is Risk.IRREVERSIBLE


def test_a_tenant_may_be_called_like_an_action() -> None:
    found = rails("{overrides: [{tenants: [rollback], default_allow: false}]}")
    assert found.rule("rollback", Risk.MEDIUM).allow
    assert not found.of("rollback", "medium").default_allow
    assert found.of("anybody", "medium") is found


def test_whoever_is_asked_for_no_more_is_kept_than_there_are_overrides() -> None:
    found = rails("{overrides: [{environments: [staging], default_allow: false}]}")
    for number in range(100):
        found.of(f"tenant {number}", "staging")
    assert len(found._places) == 1


def test_commands_of_a_place_stand_instead_of_those_elsewhere() -> None:
    found = rails("""
      commands: [{run: kubectl}, {run: df}]
      overrides:
      - {environments: [staging], commands: [{run: rm}]}
      - {tenants: [acme], commands: []}
      - {tenants: [other], default_allow: false}
    """)

    def programs(tenant: str, environment: str) -> list[str | None]:
        return [shape.run for shape in found.of(tenant, environment).commands or ()]

    assert programs("default", "production") == ["kubectl", "df"]
    assert programs("default", "staging") == ["rm"]
    assert programs("acme", "staging") == []
    assert programs("other", "production") == ["kubectl", "df"]
    assert found.of("acme", "production").commands == ()
    assert rails("{}").commands is None
    assert rails("{overrides: [{tenants: [acme], commands: []}]}").of("acme", "").commands == ()


def test_a_command_fits_nowhere_only_when_no_place_has_it() -> None:
    found = rails("{commands: [{run: df}], overrides: [{environments: [staging], commands: [{run: rm}]}]}")
    assert found.misfit(Command(("df",))) is None
    assert found.misfit(Command(("rm",))) is None
    assert found.misfit(Command(("dd",))) is not None
    assert rails("{overrides: [{tenants: [a], commands: []}]}").misfit(Command(("dd",))) is None

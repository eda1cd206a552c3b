"""What a pause covers, and what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.incident.pause import Pause, Reach, Scope, covering

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
HERE = Reach("acme", "payment", "payment-latency", "restart_service")
NAMES = st.sampled_from(["acme", "other", "payment", "payment-latency", "restart_service"])
REACHES = st.builds(Reach, NAMES, st.none() | NAMES, NAMES, NAMES)


def pull(scope: Scope, name: str = "", *, tenant: str = "acme", hours: int = 1) -> Pause:
    return Pause(id=f"{scope}-{name}-{hours}", tenant=tenant, scope=scope, name=name, by="ann", reason="we move the network",
                 at=NOON, until=NOON + timedelta(hours=hours))  # fmt: skip


@pytest.mark.parametrize(
    ("pause", "covered"),
    [
        (pull(Scope.ALL), True),
        (pull(Scope.ALL, tenant="other"), True),
        (pull(Scope.TENANT, "acme"), True),
        (pull(Scope.TENANT, "other"), False),
        (pull(Scope.SERVICE, "payment"), True),
        (pull(Scope.SERVICE, "payment", tenant="other"), True),
        (pull(Scope.TENANT, "acme", tenant="other"), True),
        (pull(Scope.SERVICE, "checkout"), False),
        (pull(Scope.RUNBOOK, "payment-latency"), True),
        (pull(Scope.RUNBOOK, "payment"), False),
        (pull(Scope.ACTION, "restart_service"), True),
        (pull(Scope.ACTION, "rollback"), False),
    ],
)
def test_it_covers_what_it_names(pause: Pause, covered: bool) -> None:
    assert pause.covers(HERE) is covered
    assert covering([pause], HERE) == (pause if covered else None)


def test_a_service_that_is_not_known_is_covered_by_no_name() -> None:
    assert not pull(Scope.SERVICE, "payment").covers(Reach("acme", None, "payment", "noop"))


def test_of_several_the_one_that_lasts_longest_is_told() -> None:
    short, long = pull(Scope.ALL), pull(Scope.SERVICE, "payment", hours=5)
    assert covering([short, long, pull(Scope.ACTION, "rollback", hours=9)], HERE) == long
    assert pull(Scope.ACTION, "rollback").says.startswith("every rollback is paused")
    assert "service payment is paused until 2026-11-28 17:00 UTC by ann: we move the network" in long.says


@pytest.mark.parametrize(("scope", "name"), [(Scope.ALL, "payment"), (Scope.SERVICE, ""), (Scope.ACTION, "")])
def test_only_everything_has_no_name(scope: Scope, name: str) -> None:
    with pytest.raises(ValidationError, match="by its name"):
        pull(scope, name)


@given(REACHES, st.sampled_from([scope for scope in Scope if scope is not Scope.ALL]), NAMES)
def test_nothing_is_covered_that_has_not_the_name(reach: Reach, scope: Scope, name: str) -> None:
    pause = pull(scope, name)
    assert pause.covers(reach) is (reach.named(scope) == name)

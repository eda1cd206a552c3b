"""Each limit by itself: what a value breaks, whom a period is for, whose service it is, what replaces what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.respond.limits import ActionRule, BlastRadius, Breaker, Freeze, Ownership, ParameterRule, over

WORDS = st.sampled_from(["", "a", "b", "c"])
NAMES = st.lists(WORDS, max_size=2).map(tuple)


@given(st.floats(allow_nan=False, width=32), st.floats(0, 10), st.floats(11, 20))
def test_a_number_is_inside_or_says_what_it_breaks(value: float, least: float, most: float) -> None:
    broken = ParameterRule(min=least, max=most).broken_by(value)
    assert (broken is None) is (least <= value <= most)


@given(WORDS, WORDS, WORDS, WORDS, NAMES, NAMES, NAMES, NAMES, NAMES)
def test_a_freeze_is_for_those_that_it_names(
    tenant: str, environment: str, service: str, action: str, tenants: Any, environments: Any, services: Any,
    actions: Any, exempt: Any,
) -> None:  # fmt: skip
    freeze = Freeze.model_validate({
        "name": "x", "from": "2026-01-01", "for": "1d", "tenants": tenants, "environments": environments,
        "services": services, "actions": actions, "exempt": exempt,
    })  # fmt: skip
    expected = (
        action not in exempt and tenant in (tenants or (tenant,)) and environment in (environments or (environment,))
        and service in (services or (service,)) and action in (actions or (action,))
    )  # fmt: skip
    assert freeze.applies(tenant, environment, service, action) is expected


@given(WORDS, WORDS, WORDS)
def test_what_nobody_owns_is_everybodys(owner: str, service: str, owned_by: str) -> None:
    assert Ownership().allows(owner, service, owned_by) is (not owned_by or owner == owned_by)
    assert Ownership(enforced=False).allows(owner, service, owned_by)
    assert Ownership(also={owner: ("*",)}).allows(owner, service, owned_by)


def test_what_is_closer_replaces_what_it_says_and_nothing_else() -> None:
    wider, closer = ActionRule(rate="2/10m", max_magnitude=3), ActionRule(rate=None, allow=False)
    assert over(wider, closer) == ActionRule(rate=None, max_magnitude=3, allow=False)
    assert over(wider, ActionRule()) == wider
    assert BlastRadius(targets=1).over(BlastRadius(share=0.5, keep_last=False)) == BlastRadius(
        targets=1, share=0.5, keep_last=False
    )


@pytest.mark.parametrize(("text", "share"), [("50%", 0.5), ("33.3 %", 0.333), (0.25, 0.25), (1, 1.0), ("100%", 1.0)])
def test_shares_as_people_write_them(text: object, share: float) -> None:
    assert BlastRadius.model_validate({"share": text}).share == pytest.approx(share)


@pytest.mark.parametrize("text", ["0%", "101%", 50, 0, -1, "half", "50", True])
def test_what_is_no_share(text: object) -> None:
    with pytest.raises(ValidationError):
        BlastRadius.model_validate({"share": text})


@pytest.mark.parametrize("rate", ["often", "0/1h", "2/", "2/soon", "-1/1h"])
def test_what_is_no_rate(rate: str) -> None:
    with pytest.raises(ValidationError):
        ActionRule(rate=rate)


def test_how_often_is_said_in_durations() -> None:
    assert Breaker.model_validate({"within": "12h"}).within == 43_200

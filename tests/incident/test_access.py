"""Roles in their order, what a token may be, and in whose name somebody may speak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.incident.access import ANYBODY, RESERVED, Caller, Role, Token, caller_of, folded, same_person

AT = datetime(2026, 11, 29, tzinfo=UTC)
ROLES = st.sampled_from(Role)


def token(**given: Any) -> Token:
    made = {"id": "0a1b2c3d", "name": "ann", "role": Role.APPROVER, "created_at": AT, "created_by": "bob",
            "expires_at": AT + timedelta(days=1)}  # fmt: skip
    return Token(**{**made, **given})


def test_each_role_may_what_those_before_it_may() -> None:
    order = [Role.VIEWER, Role.RESPONDER, Role.APPROVER, Role.ADMIN]
    for at, role in enumerate(order):
        assert [role.covers(one) for one in order] == [True] * (at + 1) + [False] * (3 - at)


@given(ROLES, ROLES, ROLES)
def test_roles_are_one_order(one: Role, two: Role, three: Role) -> None:
    assert one.covers(two) or two.covers(one)
    assert one.covers(three) or not (one.covers(two) and two.covers(three))


@given(st.text(), ROLES, st.text(min_size=1))
def test_nobody_speaks_as_another_without_being_a_proxy(name: str, role: Role, other: str) -> None:
    assert Caller(name, role).speaks_as(other) == name
    assert Caller(name, role, proxy=True).speaks_as(other) == other
    assert Caller(name, role, proxy=True).speaks_as("") == name


@given(st.text(max_size=20))
def test_two_spellings_are_one_person(name: str) -> None:
    assert same_person(name, f" {name.upper()} ") == (folded(name) == folded(name.upper()))
    assert same_person("Ann  Lee", "ann lee")


@pytest.mark.parametrize("name", ["", " ann", "ann\n", "a  b", "x" * 61, "0a1b2c3d", "Quell", *sorted(RESERVED)])
def test_a_name_that_would_mislead_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        token(name=name)


@pytest.mark.parametrize("name", ["ann", "Ørjan Æ", "李雷", "ci@deploy", "0a1b2c3", "O'Brien"])
def test_people_have_many_names(name: str) -> None:
    assert caller_of(token(name=name)).name == name


def test_an_admin_is_of_no_tenant_and_only_an_admin_is_a_proxy() -> None:
    with pytest.raises(ValidationError, match="whole installation"):
        token(role=Role.ADMIN, tenant="acme")
    with pytest.raises(ValidationError, match="speak for others"):
        token(proxy=True)
    assert caller_of(token(role=Role.ADMIN, proxy=True)).proxy
    assert caller_of(token(tenant="acme")) == Caller("ann", Role.APPROVER, "acme", False, "0a1b2c3d")
    assert ANYBODY.may(Role.ADMIN)


def test_a_token_ends_by_itself_or_by_somebody() -> None:
    assert token().state(AT) == "valid"
    assert token().state(AT + timedelta(days=1)) == "expired"
    assert token(revoked_at=AT, revoked_by="eve").state(AT) == "revoked"

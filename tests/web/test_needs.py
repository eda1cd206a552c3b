"""The table of what each route needs is whole, and a route that nobody put in it is an admin's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import BaseRoute, Route

from quell.app import App
from quell.incident.access import Role
from quell.settings import Settings
from quell.web.needs import KINDS, NEEDS, PUBLIC, Needs, keys_of
from quell.web.server import make_server


@pytest.fixture(scope="module")
def needs() -> Needs:
    found: Needs = make_server(App(Settings())).state.needs
    return found


def every_route(server_routes: list[BaseRoute]) -> set[str]:
    """Those that the server really has, however the framework nests them."""
    found: set[str] = set()
    for route in server_routes:
        inner = getattr(route, "original_router", None)
        found |= every_route(inner.routes) if inner is not None else set(keys_of(route))
    return found


def test_each_route_says_what_it_needs_and_each_need_has_a_route() -> None:
    server = make_server(App(Settings()))
    routes = every_route(server.router.routes)
    assert len(routes) > 40
    assert routes == set(NEEDS)
    assert routes == {key for route in server.state.needs.routes for key in keys_of(route)}


def test_what_is_public_is_known_by_heart() -> None:
    public = {key for key, role in NEEDS.items() if role is PUBLIC}
    assert public == {"GET /healthz", "GET /sign-in", "POST /sign-in", "GET /static", "POST /v2/enqueue"}


def test_whatever_changes_something_needs_more_than_looking() -> None:
    """But for leaving, for a browser of one's own, and for what only asks."""
    lax = {key for key, role in NEEDS.items() if not key.startswith("GET ") and role is Role.VIEWER}
    assert lax == {"POST /sign-out", "POST /api/v1/sign-in-links", "POST /api/v1/route/test"}


def scope(method: str, path: str) -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "query_string": b""}


@pytest.mark.parametrize(
    ("method", "path", "role", "named"),
    [
        ("GET", "/healthz", PUBLIC, {}),
        ("GET", "/static/quell.css", PUBLIC, {}),
        ("HEAD", "/api/v1/openapi.json", Role.VIEWER, {}),
        ("POST", "/api/v1/incidents/trigger", Role.RESPONDER, {}),
        ("POST", "/api/v1/incidents/abc/take", Role.RESPONDER, {"incident": "abc"}),
        ("POST", "/api/v1/approvals/abc/approve", Role.APPROVER, {"approval": "abc"}),
        ("POST", "/approvals/abc", Role.APPROVER, {"approval": "abc"}),
        ("DELETE", "/api/v1/tokens/ann", Role.ADMIN, {"token": "ann"}),
        ("GET", "/guardrails", Role.VIEWER, {}),
        ("POST", "/guardrails", Role.ADMIN, {}),
        ("GET", "/tokens", Role.ADMIN, {}),
        ("GET", "/past", Role.ADMIN, {}),
        ("GET", "/incidents/abc/execution", Role.VIEWER, {"incident": "abc"}),
        ("GET", "/nothing", Role.VIEWER, {}),
        ("GET", "/healthz/x", Role.VIEWER, {}),
        ("GET", "/sign-in/x", Role.VIEWER, {}),
        ("GET", "/staticx", Role.VIEWER, {}),
        ("POST", "/v2/enqueue", PUBLIC, {}),
        ("GET", "/api/v2/alerts", Role.VIEWER, {}),
        ("POST", "/api/v2/alerts", Role.RESPONDER, {"kind": "alertmanager_api"}),
        ("POST", "/alertmanager/api/v2/alerts", Role.RESPONDER, {"kind": "alertmanager_api"}),
        ("POST", "/api/v2/silences", Role.RESPONDER, {}),
        ("DELETE", "/alertmanager/api/v2/silence/abc", Role.RESPONDER, {"silence": "abc"}),
        ("GET", "/v2/enqueue", Role.VIEWER, {}),
        ("DELETE", "/healthz", Role.VIEWER, {}),
    ],
)
def test_an_address_is_found(needs: Needs, method: str, path: str, role: Role | None, named: dict[str, str]) -> None:
    found, parts = needs.of(scope(method, path))
    assert found is role
    assert {name: parts[name] for name in named} == named


def test_only_what_is_posted_without_a_source_says_its_kind(needs: Needs) -> None:
    for key in NEEDS:
        method, _, path = key.partition(" ")
        assert ("kind" in needs.of(scope(method, path))[1]) is (key in KINDS), key


def test_a_route_that_is_not_in_the_table_is_an_admins() -> None:
    async def new(request: object) -> None:
        raise AssertionError

    assert Needs([Route("/new", new)]).of(scope("GET", "/new"))[0] is Role.ADMIN


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "X"]), st.text(max_size=30))
def test_no_address_is_public_by_accident(needs: Needs, method: str, rest: str) -> None:
    role, _ = needs.of(scope(method, "/" + rest))
    path = "/" + rest
    assert role is not PUBLIC or path in ("/healthz", "/sign-in", "/v2/enqueue") or path.startswith("/static/")

"""What each route needs: the one table of who may ask for what. A route that is not in it is an admin's.

Never does: know who asks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Scope

from quell.incident.access import Role

PUBLIC = None
"""Needs nothing. Of a webhook the gate asks one thing of three: its source's own secret, a token, this machine. An
event for ``/v2/enqueue`` brings its routing key, without which nothing becomes of it."""
_VIEWER, _RESPONDER, _APPROVER, _ADMIN = Role

ALERTMANAGER = ("", "/alertmanager")
"""What the routes of Alertmanager's API begin with."""
_ALERTMANAGER: Mapping[str, Role] = {
    "GET /status": _VIEWER,
    "GET /alerts": _VIEWER,
    "GET /alerts/groups": _VIEWER,
    "GET /receivers": _VIEWER,
    "GET /silences": _VIEWER,
    "GET /silence/{silence}": _VIEWER,
    "POST /alerts": _RESPONDER,
    "POST /silences": _RESPONDER,
    "DELETE /silence/{silence}": _RESPONDER,
}
KINDS: Mapping[str, str] = {f"POST {prefix}/api/v2/alerts": "alertmanager_api" for prefix in ALERTMANAGER}
"""Where alerts are posted without naming their source: the type of those that may be meant."""

REMEMBERED = 256
"""Addresses whose needs are known without a look at every route: webhooks come to the same few."""

NEEDS: Mapping[str, Role | None] = {
    "GET /healthz": PUBLIC,
    "GET /sign-in": PUBLIC,
    "POST /sign-in": PUBLIC,
    "GET /static": PUBLIC,
    "POST /v2/enqueue": PUBLIC,
    "GET /webhooks/{source}": _RESPONDER,
    "POST /webhooks/{source}": _RESPONDER,
    # Looking.
    "GET /": _VIEWER,
    "GET /alerts": _VIEWER,
    "GET /alerts/{alert:path}": _VIEWER,
    "GET /guardrails": _VIEWER,
    "GET /incidents": _VIEWER,
    "GET /incidents/{incident}": _VIEWER,
    "GET /incidents/{incident}/alerts": _VIEWER,
    "GET /incidents/{incident}/execution": _VIEWER,
    "GET /incidents/{incident}/live": _VIEWER,
    "GET /incidents/{incident}/why": _VIEWER,
    "GET /live": _VIEWER,
    "GET /readyz": _VIEWER,
    "GET /route": _VIEWER,
    "GET /runbooks": _VIEWER,
    "GET /runbooks/{runbook}": _VIEWER,
    "GET /silences": _VIEWER,
    "GET /workers": _VIEWER,
    "GET /api/v1/alerts": _VIEWER,
    "GET /api/v1/alerts/{alert:path}": _VIEWER,
    "GET /api/v1/alerts/{alert:path}/why": _VIEWER,
    "GET /api/v1/breakers": _VIEWER,
    "GET /api/v1/incidents": _VIEWER,
    "GET /api/v1/incidents/{incident}": _VIEWER,
    "GET /api/v1/incidents/{incident}/events": _VIEWER,
    "GET /api/v1/incidents/{incident}/execution": _VIEWER,
    "GET /api/v1/incidents/{incident}/plan": _VIEWER,
    "GET /api/v1/incidents/{incident}/plan.svg": _VIEWER,
    "GET /api/v1/incidents/{incident}/timeline": _VIEWER,
    "GET /api/v1/incidents/{incident}/why": _VIEWER,
    "GET /api/v1/maintenance": _VIEWER,
    "GET /api/v1/me": _VIEWER,
    "GET /api/v1/obligations": _VIEWER,
    "GET /api/v1/openapi.json": _VIEWER,
    "GET /api/v1/pauses": _VIEWER,
    "GET /api/v1/quarantine": _VIEWER,
    "GET /api/v1/runbooks": _VIEWER,
    "GET /api/v1/runbooks/{runbook}": _VIEWER,
    "GET /api/v1/runbooks/{runbook}/plan.svg": _VIEWER,
    "GET /api/v1/shadow": _VIEWER,
    "GET /api/v1/silences": _VIEWER,
    "GET /api/v1/silences/{silence}": _VIEWER,
    "GET /api/v1/sources": _VIEWER,
    "GET /api/v1/version": _VIEWER,
    "GET /api/v1/workers": _VIEWER,
    "POST /api/v1/route/test": _VIEWER,
    "POST /api/v1/sign-in-links": _VIEWER,
    "POST /sign-out": _VIEWER,
    # Working on an incident.
    "POST /incidents/trigger": _RESPONDER,
    "POST /incidents/{incident}/alerts": _RESPONDER,
    "POST /incidents/{incident}/{deed}": _RESPONDER,
    "POST /silences": _RESPONDER,
    "POST /api/v1/incidents/trigger": _RESPONDER,
    "POST /api/v1/incidents/{incident}/ack": _RESPONDER,
    "POST /api/v1/incidents/{incident}/close": _RESPONDER,
    "POST /api/v1/incidents/{incident}/hand-over": _RESPONDER,
    "POST /api/v1/incidents/{incident}/merge": _RESPONDER,
    "POST /api/v1/incidents/{incident}/resolve": _RESPONDER,
    "POST /api/v1/incidents/{incident}/return": _RESPONDER,
    "POST /api/v1/incidents/{incident}/split": _RESPONDER,
    "POST /api/v1/incidents/{incident}/steps": _RESPONDER,
    "POST /api/v1/incidents/{incident}/take": _RESPONDER,
    "POST /api/v1/obligations/end": _RESPONDER,
    "POST /api/v1/silences": _RESPONDER,
    "POST /api/v1/silences/{silence}/end": _RESPONDER,
    "POST /obligations/end": _RESPONDER,
    # Saying yes or no.
    "POST /approvals/{approval}": _APPROVER,
    "POST /api/v1/approvals/{approval}/approve": _APPROVER,
    "POST /api/v1/approvals/{approval}/deny": _APPROVER,
    # What is everybody's.
    "GET /past": _ADMIN,
    "GET /tokens": _ADMIN,
    "POST /guardrails": _ADMIN,
    "POST /past": _ADMIN,
    "POST /tokens": _ADMIN,
    "POST /api/v1/breakers/{service}/reset": _ADMIN,
    "POST /api/v1/incidents/{incident}/break-glass": _ADMIN,
    "POST /incidents/{incident}/break-glass": _ADMIN,
    "POST /api/v1/pauses": _ADMIN,
    "POST /api/v1/pauses/resume": _ADMIN,
    "POST /api/v1/prune": _ADMIN,
    "POST /api/v1/reload": _ADMIN,
    "GET /api/v1/tokens": _ADMIN,
    "POST /api/v1/tokens": _ADMIN,
    "DELETE /api/v1/tokens/{token}": _ADMIN,
    **{
        f"{method} {prefix}/api/v2{path}": role
        for prefix in ALERTMANAGER
        for (method, path), role in ((key.split(" "), role) for key, role in _ALERTMANAGER.items())
    },
}


def keys_of(route: BaseRoute) -> list[str]:
    """How a route is called in the table. HEAD is what GET is."""
    if isinstance(route, Mount):
        return [f"GET {route.path}"]
    assert isinstance(route, Route)
    return [f"{method} {route.path}" for method in sorted((route.methods or set()) - {"HEAD"})]


class Needs:
    """By a server's routes, in their order."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self.routes = tuple(routes)
        self._known: OrderedDict[tuple[str, str], tuple[Role | None, Mapping[str, str]]] = OrderedDict()

    def leads_somewhere(self, path: str) -> bool:
        """Whether a route of ours answers there, whatever the method."""
        scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "headers": [], "query_string": b""}
        return any(route.matches(scope)[0] is not Match.NONE for route in self.routes)

    def of(self, scope: Scope) -> tuple[Role | None, Mapping[str, str]]:
        """What it needs, and the parts of its address; beside them ``kind``, the type of the source that is posted to.

        An address that leads nowhere tells so to whoever may look.
        """
        method, known = "GET" if scope["method"] == "HEAD" else scope["method"], (scope["method"], scope["path"])
        if (found := self._known.get(known)) is None:
            while len(self._known) >= REMEMBERED:
                self._known.popitem(last=False)
            found = self._known[known] = self._found(scope, method)
        return found

    def _found(self, scope: Scope, method: str) -> tuple[Role | None, Mapping[str, str]]:
        for route in self.routes:
            match, more = route.matches(scope)
            if match is Match.FULL:
                name = f"{'GET' if isinstance(route, Mount) else method} {getattr(route, 'path', '')}"
                kind = {"kind": KINDS[name]} if name in KINDS else {}
                return NEEDS.get(name, Role.ADMIN), {**more.get("path_params", {}), **kind}
        return Role.VIEWER, {}

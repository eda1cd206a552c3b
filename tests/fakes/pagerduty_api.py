"""A fake of PagerDuty's REST API v2, as far as it tells who is on call: GET /oncalls and GET /schedules/{id}.

Source: PagerDuty's REST API reference and its page on rate limits: `Authorization: Token token=…`, classic pagination
(`limit`, `offset`, `more`), references without e-mail unless `include[]=users`, errors as `{"error": {"message",
"code", "errors"}}`, 429 with `ratelimit-reset`. On-calls come from escalation policies: one entry for each policy and
level that a schedule is used in, none for a schedule that no policy uses, and none for one that does not exist.

It changes nothing, and knows no layers or overrides: a test says the shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.fakes.serving import FakeServer, Fault, Reply, Request

ACCEPT = "application/vnd.pagerduty+json;version=2"
MAX_LIMIT = 100


@dataclass(frozen=True)
class Shift:
    """One turn of a user in a schedule; ``ends`` None is for ever."""

    schedule: str
    user: str
    begins: datetime | None
    ends: datetime | None


class FakePagerDutyApi(FakeServer):
    """Answers whoever has `token`. `policies` says in how many escalation policies each schedule is used (1)."""

    def __init__(self, token: str = "u+read-only-key") -> None:
        super().__init__()
        self.token = token
        self.users: dict[str, dict[str, Any]] = {}
        self.schedules: dict[str, str] = {}
        self.shifts: list[Shift] = []
        self.policies: dict[str, int] = {}

    def add_user(self, id_: str, name: str, email: str) -> None:
        """A user by id."""
        self.users[id_] = {"id": id_, "type": "user", "summary": name, "name": name, "email": email}

    def add_schedule(self, id_: str, *shifts: tuple[str, datetime | None, datetime | None], policies: int = 1) -> None:
        """A schedule by id, with (user, begins, ends) of its turns."""
        self.schedules[id_] = f"Schedule {id_}"
        self.policies[id_] = policies
        self.shifts += [Shift(id_, *shift) for shift in shifts]

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """An injected status in PagerDuty's words."""
        if fault.status == 429:
            # The test's own Retry-After is not what PagerDuty sends.
            return _error(429, 2020, "Rate Limit Exceeded", headers={"ratelimit-limit": "960", "ratelimit-reset": "17"})
        if fault.status == 403:
            return _error(403, 2010, "Access Denied")
        return _error(fault.status, 2000, "Internal Server Error")

    def answer(self, request: Request) -> Reply:
        """Check the key, then answer one of the two questions."""
        if request.headers.get("authorization") != f"Token token={self.token}":
            return _error(401, 2006, "Unauthorized")
        if request.headers.get("accept") != ACCEPT:
            return _error(406, 2001, "Not Acceptable")
        if request.method != "GET":
            return _error(405, 2001, "Method Not Allowed")
        if request.path == "/oncalls":
            return self._oncalls(request)
        root, _, id_ = request.path.strip("/").partition("/")
        if root == "schedules" and id_ in self.schedules:
            return Reply.of({"schedule": {"id": id_, "type": "schedule", "name": self.schedules[id_]}})
        return _error(404, 2100, "Not Found")

    def _oncalls(self, request: Request) -> Reply:
        try:
            since, until = (datetime.fromisoformat(request.arg(name)) for name in ("since", "until"))
            limit, offset = int(request.arg("limit", "25")), int(request.arg("offset", "0"))
        except ValueError:
            return _error(400, 2001, "Invalid Input Provided", errors=["Since must be a valid ISO 8601 datetime."])
        if until < since:
            return _error(400, 2001, "Invalid Input Provided", errors=["Until must be after Since."])
        if limit > MAX_LIMIT:
            return _error(400, 2001, "Invalid Input Provided", errors=["Limit must be at most 100."])
        entries = self._entries(request, since, until)
        page = entries[offset : offset + limit]
        more = offset + limit < len(entries)
        return Reply.of({"oncalls": page, "limit": limit, "offset": offset, "more": more, "total": None})

    def _entries(self, request: Request, since: datetime, until: datetime) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        earliest: set[tuple[str, str]] = set()
        wanted, whole = request.query.get("schedule_ids[]", []), "users" in request.query.get("include[]", [])
        for shift in sorted(self.shifts, key=lambda one: (one.begins is not None, one.begins)):
            gone = shift.ends is not None and shift.ends <= since
            to_come = shift.begins is not None and shift.begins >= until
            if (wanted and shift.schedule not in wanted) or gone or to_come:
                continue
            for policy in range(self.policies[shift.schedule]):
                combination = (f"{shift.schedule}/{policy}", shift.user)
                if request.arg("earliest") == "true" and combination in earliest:
                    continue
                earliest.add(combination)
                found.append(self._entry(shift, policy, whole=whole))
        return found

    def _entry(self, shift: Shift, policy: int, *, whole: bool) -> dict[str, Any]:
        user = self.users[shift.user]
        reference = {"id": user["id"], "type": "user_reference", "summary": user["summary"]}
        schedule = {"id": shift.schedule, "type": "schedule_reference", "summary": self.schedules[shift.schedule]}
        return {
            "escalation_policy": {"id": f"PPOLICY{policy}", "type": "escalation_policy_reference"},
            "escalation_level": 1, "schedule": schedule, "user": user if whole else reference,
            "start": _written(shift.begins), "end": _written(shift.ends),
        }  # fmt: skip


def _written(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _error(
    status: int, code: int, message: str, *, errors: list[str] | None = None, headers: dict[str, str] | None = None
) -> Reply:
    said: dict[str, Any] = {"message": message, "code": code}
    return Reply.of({"error": said | ({"errors": errors} if errors else {})}, status, headers)

"""A fake of two methods of Slack's Web API: usergroups.users.list and users.info.

Source: the reference pages of the methods and "Rate limits" of Slack's documentation: a bearer token in the
Authorization header; every error but throttling comes with status 200 as `{"ok": false, "error": "<word>"}`, a scope
that is missing with `needed` and `provided`; throttling is 429 with Retry-After. `email` is in a profile only with the
scope users:read.email.

It has no other method, and no workspace but one.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.serving import FakeServer, Fault, Reply, Request

SCOPES = ("usergroups:read", "users:read", "users:read.email")
METHODS = {"usergroups.users.list": "usergroups:read", "users.info": "users:read"}


class FakeSlackApi(FakeServer):
    """Answers whoever has `token`; `groups` are user ids by group id, `users` by user id."""

    def __init__(self, token: str = "xoxb-1-secret") -> None:
        super().__init__()
        self.token = token
        self.scopes = set(SCOPES)
        self.groups: dict[str, list[str]] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self._state: str | None = None

    @property
    def api(self) -> str:
        """Where the methods are."""
        return f"{self.url}/api"

    def add_user(self, id_: str, handle: str, real_name: str, email: str, **more: Any) -> None:
        """A user by id; their display name is what they please."""
        profile = {"real_name": real_name, "display_name": "the boss", "email": email}
        self.users[id_] = {"id": id_, "name": handle, "deleted": False, "is_bot": False, "profile": profile, **more}

    def fail_with(self, error: str | None) -> None:
        """From now on every call is refused with this word, whoever asks (None: healthy again)."""
        self._state = error

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """An injected status in Slack's words."""
        return Reply.of({"ok": False, "error": "ratelimited" if fault.status == 429 else "fatal_error"}, fault.status)

    def answer(self, request: Request) -> Reply:
        """Check the method, the token and its scopes, then the argument."""
        method = request.path.removeprefix("/api/")
        if method not in METHODS or request.method not in ("GET", "POST"):
            return _error("unknown_method")
        if self._state:
            return _error(self._state)
        if not request.headers.get("authorization"):
            return _error("not_authed")
        if request.headers["authorization"] != f"Bearer {self.token}":
            return _error("invalid_auth")
        if METHODS[method] not in self.scopes:
            return _error("missing_scope", needed=METHODS[method], provided=",".join(sorted(self.scopes)))
        return self._members(request.arg("usergroup")) if method != "users.info" else self._user(request.arg("user"))

    def _members(self, group: str) -> Reply:
        if not group:
            return _error("missing_argument")
        return _error("no_such_subteam") if group not in self.groups else _ok(users=self.groups[group])

    def _user(self, id_: str) -> Reply:
        if id_ not in self.users:
            return _error("user_not_found")
        user = self.users[id_]
        if "users:read.email" not in self.scopes:
            user = {**user, "profile": {key: said for key, said in user["profile"].items() if key != "email"}}
        return _ok(user=user)


def _ok(**more: Any) -> Reply:
    return Reply.of({"ok": True, **more})


def _error(word: str, **more: str) -> Reply:
    return Reply.of({"ok": False, "error": word, **more})

"""The members of a Slack user group: the group that is set to whoever is on call, by a rota app or by hand.

```yaml
connections: {slack-bot: {type: slack_api, password: env:SLACK_BOT_TOKEN}}
schedules:
  payments: {type: slack, group: S0614TZR7}
```

The connection's password is the token of an app (``xoxb-…``) with the scopes ``usergroups:read``, ``users:read`` and
``users:read.email``; it is not the webhook that messages are sent through. Somebody is known by real name, e-mail
address, user name and id, not by the display name, which is made up at will. Where people may change their real names
too, call their tokens by their e-mail addresses. Deactivated people and bots are left out. Slack knows no end of a
shift. Never does: change a group, write a message, show the token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from quell.errors import Permanent, QuellError, Transient
from quell.plugins.schedules._ask import Asker, text_of
from quell.ports import Connects, OnCall, Probe
from quell.ports import Params as PortParams

CONNECTIONS = ("slack_api",)
API = "https://slack.com/api"
_MOST_MEMBERS = 50
_WORD = re.compile(r"[a-z_]{1,60}")
_PASSING = {
    "ratelimited": "exhausted", "rate_limited": "exhausted", "internal_error": "busy", "fatal_error": "busy",
    "service_unavailable": "busy", "request_timeout": "busy", "team_added_to_org": "busy",
}  # fmt: skip
_LASTING = {
    "no_such_subteam": "missing", "subteam_not_found": "missing", "user_not_found": "missing",
    "user_not_visible": "missing", "invalid_auth": "denied", "not_authed": "denied", "account_inactive": "denied",
    "token_revoked": "denied", "token_expired": "denied", "missing_scope": "denied", "no_permission": "denied",
    "not_allowed_token_type": "denied", "access_denied": "denied", "accesslimited": "denied",
    "org_login_required": "denied", "ekm_access_denied": "denied", "team_access_not_granted": "denied",
    "plan_upgrade_required": "denied", "invalid_arguments": "invalid", "missing_argument": "invalid",
}  # fmt: skip


class Params(PortParams):
    group: str = Field(pattern=r"^S[A-Z0-9]{2,40}$")
    """The group's id, such as ``S0614TZR7`` (in Slack: the group, the menu, Copy group ID); not its handle."""
    connection: Annotated[str | None, Connects(CONNECTIONS)] = None
    """The connection with the token; by default the only one."""
    url: str = API
    """The address of the Web API."""


async def on_call(params: Params, probe: Probe, at: datetime) -> tuple[OnCall, ...]:
    """Everybody who is in the group now, whatever ``at`` is. Raises ``Transient`` or ``Permanent``."""
    there = probe.connection(params.connection, *CONNECTIONS)
    asker = Asker.over(probe, "slack", there, "Bearer {}", _reason)
    url = (there.url or params.url).rstrip("/")
    answer = await _called(asker, f"{url}/usergroups.users.list", usergroup=params.group)
    members = answer.get("users")
    if not isinstance(members, list) or not all(text_of(one) for one in members):
        raise Permanent(f"{asker.name}: it gave a group without a list of users", "invalid")
    if len(members) > _MOST_MEMBERS:
        raise Permanent(f"{asker.name}: the group has {len(members)} members, more than {_MOST_MEMBERS}", "too_large")
    found = []
    for one in members:
        user = (await _called(asker, f"{url}/users.info", user=one)).get("user")
        if not isinstance(user, dict):
            raise Permanent(f"{asker.name}: it gave no user", "invalid")
        if not user.get("deleted") and not user.get("is_bot"):
            found.append(_person(user, one))
    return tuple(found)


async def _called(asker: Asker, url: str, **arguments: str) -> Mapping[str, Any]:
    """Slack says 200 to errors too, and what it was in a word. Raises ``Transient`` or ``Permanent``."""
    answer = await asker.document(url, arguments.items())
    if answer.get("ok") is not True:
        raise _refusal(asker, answer)
    return answer


def _refusal(asker: Asker, answer: Mapping[str, Any]) -> QuellError:
    error = text_of(answer.get("error"))
    words = f"{asker.name}: {asker.hidden(_reason(answer)) or 'neither ok nor an error'}"
    if error in _PASSING:
        return Transient(words, _PASSING[error])
    return Permanent(words, _LASTING.get(error, "failed") if error else "invalid")


def _reason(document: Mapping[str, Any]) -> str:
    """Slack's word; for a scope that is missing, which."""
    error, needed = text_of(document.get("error")), text_of(document.get("needed"))
    if not _WORD.fullmatch(error):
        return "an error that is no word" if error else ""
    return f"{error} (needed: {needed})" if needed else error


def _person(user: Mapping[str, Any], id_: str) -> OnCall:
    profile = user.get("profile")
    profile = profile if isinstance(profile, dict) else {}
    real = text_of(profile.get("real_name")) or text_of(user.get("real_name"))
    names = (real, text_of(profile.get("email")), text_of(user.get("name")), id_)
    known = list(dict.fromkeys(name for name in names if name))
    return OnCall(known[0], tuple(known[1:]))

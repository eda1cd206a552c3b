"""A sign of life, by POST or GET: for cron jobs, backups, and whatever else must not stop in silence.

```yaml
sources: {nightly-backup: {type: heartbeat, token: env:BACKUP_TOKEN, expect: {every: 1d, grace: 2h, severity: P3}}}
```

Whatever is posted counts, with any body or none; a job says that it has ended well by
``curl -fsS -m 10 --retry 5 -H "Authorization: Bearer $TOKEN" https://quell.example/webhooks/nightly-backup``. One that
must be heard needs ``expect``. Never does: read a body, make an alert (who goes silent does).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from quell.plugins.sources import _credentials
from quell.plugins.sources._group import Read
from quell.ports import Params as _Params

HEARTBEAT = True


class Params(_Params):
    """``token`` (bearer) and ``password`` (basic) are secret references; with neither, a token of Quell's own is asked
    for."""

    token: str | None = None
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may send. Compared in constant time; a lost secret lets nobody in."""
    return _credentials.token_or_password(headers, params.token, params.username, params.password)


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    return _credentials.shown_by(headers, params.token, params.password)


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """Nothing: that it came is all that it says."""
    return [], []

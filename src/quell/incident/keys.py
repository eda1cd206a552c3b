"""What the keys of runs, workflows and executions tell: ``run:<incident>.1/…``, ``page:<incident>.1``. Pure.

Never does: make one; whoever starts something names it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_KEY = re.compile(r"(?:\w+:)+([^.:/]+)\.\d")


def incident_of(key: str) -> str | None:
    """Whose it is; None when it is no incident's."""
    found = _KEY.match(key)
    return found[1] if found else None


def incidents_of(keys: Iterable[str], among: Collection[str] | None = None) -> list[str]:
    """Those that the keys tell of, of ``among`` alone when it is given."""
    found = (incident_of(key) for key in keys)
    return [one for one in found if one is not None and (among is None or one in among)]

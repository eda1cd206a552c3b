"""Where the next page of a list begins: behind the last row of the one before, by its time and its name.

A list that grows at its head shows nothing twice and leaves nothing out, and its last page costs what the first one
does. Never does: count.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query

from quell.errors import InvalidInput, Problem

Start = Annotated[str, Query(alias="before", max_length=2100)]
Place = tuple[datetime, str]


def told(place: Place) -> str:
    at, name = place
    return f"{at.isoformat().replace('+00:00', 'Z')}/{name}"


def read(text: str) -> Place | None:
    """What ``told`` has told, or a time alone; None of nothing. Raises ``InvalidInput``."""
    if not text:
        return None
    at, _, name = text.partition("/")
    try:
        moment = datetime.fromisoformat(at[:19] + at[19:].replace(" ", "+"))  # a plus that nobody encoded
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        wrong, expected = "no time with its offset", "2026-11-29T14:00:00Z"
        raise InvalidInput([Problem(wrong, "time", path="query.before", found=at[:80], expected=expected)])
    return moment, name

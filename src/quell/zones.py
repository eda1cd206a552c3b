"""Time zones by their IANA names, as people write them. Pure. Never does: take the zone of the machine."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone(name: str) -> tzinfo:
    """Raises ``ValueError`` saying what is expected."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone such as UTC or Europe/Zurich") from None


def moment(wall: datetime, where: tzinfo) -> datetime:
    """When the clock on the wall there shows it, UTC; the first of two times, where it is set back."""
    return wall.replace(tzinfo=where, fold=0).astimezone(UTC)


__all__ = ["moment", "zone"]

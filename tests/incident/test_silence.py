"""When a silence holds, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from quell.incident.matcher import parse_matchers
from quell.incident.silence import Silence, SilenceState

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def silence(
    matchers: str = "alertname=Down", name: str = "s1", starts: datetime = AT, ends: datetime = AT + HOUR
) -> Silence:
    return Silence(
        id=name, tenant="default", matchers=parse_matchers(matchers), starts_at=starts, ends_at=ends, updated_at=AT,
        by="anna", comment="disks are being changed",
    )  # fmt: skip


def test_from_its_beginning_until_its_end() -> None:
    one = silence()
    assert one.state(AT - timedelta(seconds=1)) is SilenceState.PENDING
    assert one.state(AT) is SilenceState.ACTIVE
    assert one.state(AT + HOUR - timedelta(microseconds=1)) is SilenceState.ACTIVE
    assert one.state(AT + HOUR) is SilenceState.EXPIRED


def test_what_it_says() -> None:
    one = silence('alertname=Down, env=~"a|b"')
    assert one.what == '{alertname="Down", env=~"a|b"}'
    assert one.says == "silenced until 2026-01-01 13:00 UTC by anna: disks are being changed"

"""References in a configuration, each with its place."""

from quell.doctor.secrets import judge, references
from quell.settings import Settings

WRITTEN = {
    "server": {"token": "env:TOKEN"},
    "connections": {
        "pg": {"type": "postgresql", "url": "file:/run/pg", "password": "env:PG"},
        "web": {
            "type": "http",
            "url": "http://x",
            "token": "env:WEB",
            "headers": {"X-Key": "env:KEY", "Accept": "*/*"},
        },
    },
    "notifiers": {"sre": {"type": "slack", "url": "env:SLACK", "channel": "#sre"}},
    "sources": {
        "alertmanager": {"token": "env:AM", "labels": {"a": "b"}},
        "pagerduty": {"secrets": ["env:OLD", "env:NEW"]},
    },
}


def test_every_reference_is_found_with_its_place() -> None:
    assert dict(references(Settings.model_validate(WRITTEN))) == {
        "server.token": "env:TOKEN", "connections.pg.url": "file:/run/pg", "connections.pg.password": "env:PG",
        "connections.web.token": "env:WEB", "connections.web.headers.X-Key": "env:KEY",
        "notifiers.sre.url": "env:SLACK", "sources.alertmanager.token": "env:AM",
        "sources.pagerduty.secrets[0]": "env:OLD", "sources.pagerduty.secrets[1]": "env:NEW",
    }  # fmt: skip


def test_they_are_judged_one_by_one_and_the_good_ones_together() -> None:
    assert judge([]) == []
    missing, empty, good = judge([("a", "secret env:A: …", False), ("b", None, True), ("c", None, False)])
    assert [str(one.level) for one in (missing, empty, good)] == ["error", "warning", "ok"]
    assert (missing.looked_at, good.found) == ("a", "1 leads to one")

"""Pruning over HTTP: told, done, and what is wrong said."""

import pytest

from quell.incident.event import EventKind, NewEvent, Stream
from quell.store import events
from quell.store.database import Database, now_us
from tests.web.house import House

PRUNE = "/api/v1/prune"
OPENED = NewEvent(kind=EventKind.OPENED, payload={"title": "down", "severity": "P1"})
RESOLVED = NewEvent(kind=EventKind.RESOLVED, payload={"reason": "well"})


def test_told_and_done(house: House) -> None:
    database = Database(str(house.app.settings.database))
    at = now_us() - 100 * 86_400 * 1_000_000
    database.write_now(lambda c: events.append(c, "old", Stream.INCIDENT, "0old", [OPENED, RESOLVED], at_us=at))
    database.close()
    dry = house.http.post(PRUNE, json={"older_than": "90d", "dry_run": True, "tenant": "old"})
    assert (dry.status_code, dry.json()["erased"]) == (200, {"incidents": 1, "payloads": 2})
    assert house.http.get("/api/v1/incidents/0old").status_code == 200
    done = house.http.post(PRUNE, json={"older_than": "90d", "by": "Ines"})
    assert (done.status_code, done.json()["erased"]) == (200, {"incidents": 1, "payloads": 2})
    gone = house.http.get("/api/v1/incidents/0old")
    assert gone.status_code == 404
    assert "was pruned at" in gone.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "older_than"),
        ({"older_than": "1h", "by": "Ines"}, 422, "a day old"),
        ({"older_than": "soon", "by": "Ines"}, 422, "not a duration"),
        ({"older_than": "90d"}, 422, "who you are"),
        ({"older_than": "90d", "by": "Ines", "tenant": "nobodys"}, 404, "nobodys"),
        ({"older_than": "90d", "dryrun": True, "by": "Ines"}, 422, "dry_run"),
    ],
)
def test_what_is_wrong_is_said(house: House, body: dict[str, object], status: int, said: str) -> None:
    answer = house.http.post(PRUNE, json=body)
    assert answer.status_code == status
    assert said in answer.text

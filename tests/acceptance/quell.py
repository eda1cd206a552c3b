"""Quell as its users run it: the process `quell serve` with a configuration, seen through its HTTP API.

Never reaches into the process. Only the hash chain is checked where it lies, in the database file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

import quell
from quell.incident.event import Event, EventKind
from quell.incident.incident import Incident
from quell.store.chain import Fault
from quell.store.database import Database
from tests.audited import faults
from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, wait_until

PAGED = ("pagerduty:payments", "pagerduty:dba", "pagerduty:shop")
"""Where the examples page: here that is the log."""
COMMAND = (sys.executable, "-m", "quell.cli.main")
EXAMPLES = Path(__file__).parents[2] / "examples"


def quicker(example: str, changes: Mapping[str, str]) -> str:
    """The text of a runbook in `examples/` with other times and sizes. Every changed text must be there once."""
    text = (EXAMPLES / example).read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, f"{example} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text


class Quell(Server):
    """`settings` go into its `quell.yaml` as they are; `runbooks` (name → text) beside it.

    The port is chosen at once, so that an Alertmanager can be told of it before Quell runs.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.webhook = f"{self.url}/webhooks/alertmanager"
        self.settings: Mapping[str, Any] = {}
        self.runbooks: Mapping[str, str] = {}

    def configured(self, settings: Mapping[str, Any], runbooks: Mapping[str, str]) -> Quell:
        self.settings, self.runbooks = settings, runbooks
        return self

    def prepare(self) -> None:
        (self.folder / "runbooks").mkdir()
        for name, text in self.runbooks.items():
            (self.folder / "runbooks" / name).write_text(text)
        settings = {
            "database": str(self.folder / "quell.db"), "runbooks": ["runbooks"],
            "server": {"port": self.port, "base_url": self.url, "insecure": True}, "scrape_interval": "200ms",
            "engine": {"poll": "0.2s"}, "notifiers": {name: {"type": "log"} for name in PAGED}, **self.settings,
        }  # fmt: skip
        (self.folder / "quell.yaml").write_text(json.dumps(settings))

    def argv(self) -> list[str]:
        return [*COMMAND, "serve", "--config", str(self.folder / "quell.yaml")]

    def environment(self) -> dict[str, str]:
        """The package under test, wherever the process runs."""
        return {"PYTHONPATH": str(Path(quell.__file__).parents[1])}

    def ready(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/readyz", timeout=2)
        except httpx.HTTPError:
            return False
        assert not (answer.is_success and answer.json()["broken"]), httpx.get(f"{self.url}/api/v1/runbooks").text
        return answer.is_success

    # What it tells.

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.url}{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def incidents(self) -> list[Incident]:
        """Newest first."""
        return [Incident.model_validate(one) for one in self.get("/api/v1/incidents")["incidents"]]

    def incident(self, name: str) -> Incident:
        return Incident.model_validate(self.get(f"/api/v1/incidents/{name}"))

    def timeline(self, incident: str) -> list[Event]:
        return [Event.model_validate(one) for one in self.get(f"/api/v1/incidents/{incident}/timeline")["events"]]

    def page(self, path: str) -> str:
        """What a browser without JavaScript gets, as HTML."""
        return httpx.get(f"{self.url}{path}", headers={"accept": "text/html"}, timeout=10).raise_for_status().text

    def printed(self, *words: str) -> str:
        """What the command `quell …` prints about this server."""
        done = subprocess.run(
            [*COMMAND, *words, "--server", self.url], capture_output=True, text=True, timeout=30, check=True,
            cwd=self.folder, env={**os.environ, **self.environment()},
        )  # fmt: skip
        return done.stdout

    # Waiting.

    def opens(self, within: float = 20.0) -> str:
        """The id of the one incident, once there is one."""
        wait_until(lambda: bool(self.incidents()), "an incident", within)
        (incident,) = self.incidents()
        return incident.id

    def ends(self, incident: str, within: float = 30.0) -> Incident:
        """The incident when its run is over. Raises AssertionError with its story when that takes too long."""
        self._until(incident, lambda: self.incident(incident).outcome is not None, "the end of the run", within)
        return self.incident(incident)

    def told(self, incident: str, kind: EventKind, within: float = 20.0, **payload: object) -> Event:
        """The first event of a kind that says this, once there is one."""

        def found() -> list[Event]:
            log = self.timeline(incident)
            return [one for one in log if one.kind is kind and payload.items() <= one.payload.items()]

        self._until(incident, lambda: bool(found()), kind.value, within)
        return found()[0]

    def _until(self, incident: str, holds: Callable[[], bool], what: str, within: float) -> None:
        try:
            wait_until(holds, what, within)
        except TimeoutError as late:
            raise AssertionError(f"{late}\n{story(self.timeline(incident))}\n{self.log()}") from None

    def faults(self) -> list[Fault]:
        """What the audit of its log finds."""
        database = Database(str(self.folder / "quell.db"))
        try:
            return faults(database)
        finally:
            database.close()


def story(log: Collection[Event]) -> str:
    """The log for a person who must find out why a test failed."""
    return "\n".join(f"{one.at:%H:%M:%S.%f} {one.kind.value} {one.node} {json.dumps(one.payload)[:700]}" for one in log)


def only(log: Collection[Event], kind: EventKind, **payload: Any) -> Event:
    """The one event of this kind whose payload has these values."""
    found = [one for one in log if one.kind is kind and payload.items() <= one.payload.items()]
    assert len(found) == 1, f"{len(found)} × {kind.value} {payload}\n{story(log)}"
    return found[0]


def in_order(*told: Event) -> bool:
    """Whether the events come one after another, in the log's order and by its clock."""
    return all(one.seq < two.seq and one.at <= two.at for one, two in pairwise(told))

"""A whole Quell on a temporary SQLite behind a real socket, for tests of the web: its files, its server, its alerts.

The server runs in a thread with an event loop of its own, as it would in a process; one at a time.
"""

import asyncio
import concurrent.futures
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from quell.app import App, Kind
from quell.settings import parse_settings
from quell.web.run import serve_here
from tests.servers.process import wait_until

RUNBOOK = """
id: {id}
name: Shop answers with errors
description: The last release answers with errors
severity: P1
service: shop
mode: {mode}
triggers: [{{type: alert, alert_name: {alert}}}]
diagnostics:
- id: errors
  name: Error rate
  type: shell_command
  config: {{command: [cat, "{folder}/errors"]}}
  interpret: {{healthy: value < 1, warning: value >= 1 && value < 5, critical: value >= 5}}
- id: pool
  name: Connection pool
  type: shell_command
  config: {{command: [echo, "41"]}}
  interpret: {{healthy: value < 70, warning: value >= 70 && value < 90, critical: value >= 90}}
- id: release
  name: Release
  type: shell_command
  config: {{command: [cat, "{folder}/release"]}}
  interpret: {{healthy: value < 2, warning: value >= 2}}
decision_tree:
- {{condition: pool.critical, then: [calm], description: The connection pool is exhausted}}
- {{condition: errors.critical && release.warning, then: [back], description: Errors since the new release}}
remediations:
- id: calm
  name: End idle sessions
  type: automated
  action: {{type: run_script, config: {{command: [cp, "{folder}/zero", "{folder}/errors"]}}}}
- id: back
  name: Roll back to the release before
  type: automated
  action: {{type: run_script, config: {{command: [cp, "{folder}/zero", "{folder}/errors"]}}}}
  {approval}
verify: {{signals: [errors], stable_for: 0.2s, within: 5s}}
escalation: {{primary: "log:ops", escalate_after_minutes: 15}}
"""

SETTINGS = """
database: {database}
runbooks: {folder}/runbooks
services: {{shop: {{}}}}
scrape_interval: 0.1s
{more}
"""


class House:
    """``with House(folder) as house``: files in ``folder``, an address in ``url``, a client in ``http``.

    Nobody is asked who they are, unless the settings have a token or ``insecure`` is False.
    """

    def __init__(
        self, folder: Path, *, database: str = "", more: str = "", insecure: bool | None = None, kind: Kind = Kind.RUN
    ) -> None:  # fmt: skip
        self.folder = folder
        (folder / "runbooks").mkdir(parents=True, exist_ok=True)
        self.set(errors="12.4", release="2", zero="0")
        self.runbook("shop-errors", alert="ShopErrors")
        self.runbook("shop-ask", alert="ShopAsk", approval="approval: {expires: 10m}")
        text = SETTINGS.format(database=database or folder / "quell.db", folder=folder, more=more)
        settings = parse_settings(text, "quell.yaml", folder)
        open_to_all = settings.server.token is None if insecure is None else insecure
        self.app = App(
            settings.model_copy(update={"server": settings.server.model_copy(update={"insecure": open_to_all})}),
            kind=kind,
        )
        self.link = ""
        self.url = ""
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def set(self, **files: str) -> None:
        """What the checks of the runbook will see."""
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def runbook(self, name: str, **values: str) -> None:
        filled = {"id": name, "alert": name, "approval": "timeout: 10s", "mode": "auto", **values}
        text = RUNBOOK.format(folder=self.folder, **filled)
        (self.folder / "runbooks" / f"{name}.yaml").write_text(text)

    def __enter__(self) -> "House":
        ready: concurrent.futures.Future[str] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="house")
        self._thread.start()
        self.url = ready.result(30)
        secured = self.app.settings.server.token is None and not self.app.settings.server.insecure
        wait_until(lambda: self.link or not secured, "the link")
        self.http = httpx.Client(base_url=self.url, timeout=30, follow_redirects=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        assert self._stop is not None
        loop, stop = self._stop
        loop.call_soon_threadsafe(stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _serve(self, ready: concurrent.futures.Future[str]) -> None:
        async def run() -> None:
            stop = asyncio.Event()
            self._stop = (asyncio.get_running_loop(), stop)
            await serve_here(self.app, "127.0.0.1", 0, on_address=ready.set_result, on_link=self._take_link, stop=stop)

        try:
            asyncio.run(run())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    def _take_link(self, link: str) -> None:
        self.link = link

    # What people and monitoring do.

    def alert(self, name: str, *, service: str = "shop", status: str = "firing", **labels: str) -> str:
        """Fire an alert; returns its incident."""
        body = alerts({"alertname": name, "service": service, **labels}, status=status)
        answer = self.http.post("/webhooks/alertmanager", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["incidents"][0])

    def incident(self, name: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/v1/incidents/{name}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def until(self, incident: str, status: str) -> dict[str, Any]:
        """Wait until an incident has a status."""
        wait_until(lambda: self.incident(incident)["status"] == status, f"{incident} {status}", 20)
        return self.incident(incident)

    def stream(self, path: str) -> contextlib.AbstractContextManager["Messages"]:
        return messages(self, path)


def alerts(*labels: dict[str, str], status: str = "firing") -> dict[str, Any]:
    """An Alertmanager body, version 4."""
    made = [
        {"status": status, "labels": one, "annotations": {"summary": f"{one['alertname']} on {one.get('service')}"},
         "startsAt": "2026-11-21T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
         "fingerprint": f"{abs(hash(json.dumps(one, sort_keys=True))):016x}"[:16]}
        for one in labels
    ]  # fmt: skip
    return {"version": "4", "groupKey": json.dumps(labels), "status": status, "receiver": "quell", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": made}  # fmt: skip


class Messages:
    """The messages of a stream of server-sent events, one after the other."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> dict[str, str]:
        """The next message with data; comments are passed over."""
        message: dict[str, str] = {}
        for line in self._lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                message[name] = value
            elif not line and "data" in message:
                return message
            elif not line:
                message = {}
        raise EOFError("the stream ended")


@contextlib.contextmanager
def messages(house: House, path: str) -> Iterator[Messages]:
    with house.http.stream("GET", path) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Messages(answer.iter_lines())

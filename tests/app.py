"""A real App for a test: its own folder, its own database, runbooks and catalogue given as text.

Nothing of it is replaced: checks run programs, actions change files, alerts come in as an Alertmanager would post
them. An App is one per process: leave one house before the next is entered. Never waits without a deadline.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quell.app import App, Kind, Receipt
from quell.engine.durable import Durable
from quell.incident.event import Event, EventKind
from quell.incident.incident import Incident
from quell.incident.parts import Approval
from quell.registry import Registry
from quell.settings import Settings, parse_settings
from quell.store.database import Database
from quell.store.migrate import migrate
from tests.servers.forked import Forked

WITHIN_S = 15.0
EVERY_S = 0.02
POLL_S = 0.1

DO = """#!/bin/sh
# do NAME VALUE [SECONDS [EXIT]]: leaves a line, waits, sets the state, ends.
echo "$1 $QUELL_KEY" >> @/effects
if [ -n "$3" ]; then sleep "$3"; fi
echo "$2" > @/state
exit "${4:-0}"
"""
"""The remedy of most tests: what it did is in the file ``effects``, what it achieved in ``state``."""

STATE = "{id: state, type: shell_command, config: {command: [cat, @/state]}, interpret: {healthy: value < 1, warning: value >= 1, critical: value >= 10}}"
VERIFY = "verify: {signals: [state], stable_for: 0.15s, within: 1.5s, every: 0.05s}"
HEAD = """
id: down
severity: P2
service: shop
triggers: [{type: alert, alert_name: Down}]
"""
PAGES = "escalation: {primary: 'log:primary', escalate_after_minutes: 5}\n"


def do(name: str, value: object, *more: object) -> str:
    """An action that does ``name`` and makes the state ``value``; YAML."""
    argv = ", ".join(json.dumps(str(part)) for part in (name, value, *more))
    return f"{{type: run_script, config: {{command: [@/do, {argv}]}}}}"


def runbook(
    decisions: str, remediations: str, *, verify: str = VERIFY, diagnostics: str = f"- {STATE}", more: str = ""
) -> str:
    """The runbook ``down`` of the service ``shop``; the sections are YAML list items."""
    return (
        f"{HEAD}{more}\ndiagnostics:\n{diagnostics}\ndecision_tree:\n{decisions}\nremediations:\n{remediations}\n"
        f"{verify}\n{'' if 'escalation:' in more else PAGES}"
    )


class House:
    """An App with what a test needs around it. ``/`` after ``@`` in texts is the house's folder."""

    def __init__(self, app: App, folder: Path, told: list[Event]) -> None:
        self.app, self.folder, self.told = app, folder, told

    # Alerts.

    async def post(self, *alerts: dict[str, Any]) -> Receipt:
        body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "quell", "groupLabels": {},
                "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": list(alerts)}  # fmt: skip
        return await self.app.receive("alertmanager", {}, json.dumps(body).encode())

    async def fire(self, name: str = "Down", **labels: str) -> str:
        """The incident that the alert opened or joined. ``service`` is ``shop`` unless said."""
        return (await self.post(alert(name, **labels))).incidents[0]

    async def calm(self, name: str = "Down", **labels: str) -> Receipt:
        """The same alert, resolved."""
        return await self.post(alert(name, status="resolved", **labels))

    # Waiting.

    async def until(self, incident: str, holds: Callable[[Incident], object], what: str = "") -> Incident:
        """Poll until ``holds``; raises AssertionError with the timeline when it never does."""
        deadline = time.monotonic() + WITHIN_S
        while not holds(now := await self.app.incident(incident)):
            if time.monotonic() > deadline:
                story = "\n".join(
                    f"  {event.kind} {json.dumps(event.payload)[:300]}" for event in await self.events(incident)
                )
                raise AssertionError(f"{what or 'it'} never held; status {now.status}, outcome {now.outcome}\n{story}")
            await asyncio.sleep(EVERY_S)
        return now

    async def over(self, incident: str) -> Incident:
        """Its run has ended."""
        return await self.until(incident, lambda now: now.outcome is not None, "the end of the run")

    async def escalated(self, incident: str) -> Incident:
        """It is over, and somebody has been paged for it."""
        await self.over(incident)
        return await self.until(incident, lambda now: now.escalated_to, "an escalation")

    async def asked(self, incident: str, number: int = 1) -> Approval:
        """The approval that waits, once ``number`` have been asked for."""
        now = await self.until(incident, lambda now: len(now.approvals) >= number and now.waiting, "an approval")
        return now.waiting[-1]

    # Looking.

    async def events(self, incident: str, *kinds: EventKind) -> list[Event]:
        return [event for event in await self.app.timeline(incident) if not kinds or event.kind in kinds]

    async def told_of(self, incident: str, kind: EventKind) -> list[dict[str, Any]]:
        """The payloads of all events of a kind."""
        return [event.payload for event in await self.events(incident, kind)]

    @property
    def effects(self) -> list[str]:
        """The names of what ``do`` did, in order."""
        path = self.folder / "effects"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def state(self, value: object) -> None:
        (self.folder / "state").write_text(f"{value}\n")


def alert(name: str = "Down", *, status: str = "firing", **labels: str) -> dict[str, Any]:
    """An alert as Alertmanager writes it; ``service=''`` leaves the label out."""
    given = {"alertname": name, "service": "shop", **labels}
    return {
        "status": status, "labels": {key: value for key, value in given.items() if value}, "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(), "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
    }  # fmt: skip


def write(folder: Path, runbooks: str | Sequence[str], *, state: object = 50) -> None:
    """The files of a house: runbooks, the state, the script that changes it."""
    (folder / "runbooks").mkdir(exist_ok=True)
    for number, text in enumerate([runbooks] if isinstance(runbooks, str) else runbooks):
        (folder / "runbooks" / f"{number}.yaml").write_text(text.replace("@/", f"{folder}/"))
    script = folder / "do"
    script.write_text(DO.replace("@/", f"{folder}/"))
    script.chmod(0o755)
    if not (folder / "state").exists():
        (folder / "state").write_text(f"{state}\n")


def settings_of(folder: Path, *, database: str = "", more: str = "", services: str = "{shop: {}}") -> Settings:
    """Quick everywhere where a real house is patient."""
    text = (
        f"database: {database or folder / 'quell.db'}\nrunbooks: {folder}/runbooks\nservices: {services}\n"
        f"scrape_interval: 50ms\nengine: {{lease: 900ms, poll: {POLL_S}s}}\n{more}"
    )
    return parse_settings(text.replace("@/", f"{folder}/"), "quell.yaml", folder)


@asynccontextmanager
async def house(
    folder: Path, runbooks: str | Sequence[str], *, state: object = 50, database: str = "", more: str = "",
    services: str = "{shop: {}}", observe: bool = False, sound: bool = True, kind: Kind = Kind.RUN,
) -> AsyncIterator[House]:  # fmt: skip
    """An App that is started, and stopped at the end. ``more``: further settings; ``sound``: every runbook loads."""
    write(folder, runbooks, state=state)
    if not database and not (folder / "quell.db").exists():
        (folder / "quell.db").write_bytes(await empty_database())
    told: list[Event] = []
    settings = settings_of(folder, database=database, more=more, services=services)
    app = App(settings, registry=Registry(observe_only=observe), on_events=told.extend, kind=kind)
    await app.start()
    try:
        assert not (sound and app.library.broken), app.library.broken
        yield House(app, folder, told)
    finally:
        await app.stop()


_empty: list[bytes] = []


async def empty_database() -> bytes:
    """A SQLite file with every table and no row of ours: made once per process, since that took half of a start."""
    if not _empty:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "empty.db"
            await make_tables(str(path))
            _empty.append(path.read_bytes())
    return _empty[0]


async def make_tables(url: str) -> None:
    """Ours, and those of the engine."""
    database = Database(url)
    database.prepare(migrate)
    durable = Durable(database.engine, executor_id="nobody", poll_s=POLL_S)
    await durable.launch()
    await durable.shutdown()
    database.close()


async def eventually(
    holds: Callable[[], Awaitable[object]], what: str, within_s: float = WITHIN_S
) -> None:  # fmt: skip
    """Poll something asynchronous until it holds."""
    deadline = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        await asyncio.sleep(EVERY_S)


def live(folder: str, database: str = "", more: str = "") -> None:
    """In a process of its own, to be killed: an App over the files that are there; fires, and tells every event."""

    def tell(told: Sequence[Event]) -> None:
        for event in told:
            print(event.stream_id, event.kind.value, flush=True)

    async def run() -> None:
        app = App(settings_of(Path(folder), database=database, more=more), on_events=tell)
        await app.start()
        await House(app, Path(folder), []).fire()
        await asyncio.Event().wait()

    asyncio.run(run())


@asynccontextmanager
async def doomed(folder: Path, database: str = "", more: str = "") -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Run ``live`` in a child; yields ``seen(kind)``: the incident, once that event happened. Killed at the end."""
    child = Forked("tests.app:live", given=[str(folder), database, more], stdout=subprocess.PIPE)
    assert child.stdout is not None
    lines = child.stdout

    async def seen(kind: str) -> str:
        while True:
            line = (await asyncio.wait_for(asyncio.to_thread(lines.readline), WITHIN_S)).decode().split()
            assert line, "the child ended by itself"
            if line[-1] == kind:
                return line[0]

    try:
        yield seen
    finally:
        child.kill()
        await asyncio.to_thread(child.wait)
        lines.close()

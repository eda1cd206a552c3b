"""A storm: incidents with parallel checks, approvals and actions, while the processes that handle them are killed.

Real `quell serve` and `quell worker`, over PostgreSQL and over SQLite (a server alone). A target counts: each effect is a
line that is on the disk before the action goes on. Afterwards: no effect of an action that may not be repeated is there
twice, no alert that was accepted is lost, and whatever nobody knew was asked of a person.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quell.incident.event import EventKind
from quell.incident.incident import fold
from quell.store import audit, queries
from quell.store.database import Database
from tests.cli.command import QUELL, environment
from tests.servers.ports import free_port

pytestmark = [pytest.mark.storm, pytest.mark.timeout(900)]

SHORT = os.environ.get("QUELL_STORM") == "short"
INCIDENTS, KILLS = (16, 12) if SHORT else (60, 60)
EVERY_S = 1.0
"""Between two kills: about as long as a process takes to start and to take work over."""
WITHIN_S = 300.0

DO = """#!/bin/sh
# do SERVICE: an effect that is kept at once, and what it achieves a moment later.
echo "$QUELL_KEY $1" >> @/effects
sync -d @/effects
sleep 0.3
touch "@/fixed/$1"
"""
BOOK = """
id: {id}
severity: {severity}
triggers: [{{type: alert, alert_name: {id}}}]
diagnostics:
- {{id: state, type: shell_command, config: {{command: [test, -e, "@/fixed/${{incident.service}}"]}}, interpret: {{healthy: exit_code == 0, critical: exit_code != 0}}}}
- {{id: one, type: shell_command, config: {{command: [sleep, "0.1"]}}, interpret: {{healthy: exit_code == 0, critical: exit_code != 0}}}}
- {{id: other, type: shell_command, config: {{command: [sleep, "0.2"]}}, interpret: {{healthy: exit_code == 0, critical: exit_code != 0}}}}
decision_tree: [{{condition: state.critical, then: [fix]}}]
remediations:
- {{id: fix, type: automated{approval}, action: {{type: run_script, config: {{command: [@/do, "${{incident.service}}"], target: "${{incident.service}}"}}}}}}
verify: {{signals: [state], stable_for: 0.1s, within: 3s, every: 0.1s}}
escalation: {{primary: 'log:oncall', escalate_after_minutes: 5}}
"""


class Process:
    """One that is killed and started again."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._folder, self._words = folder, words
        self._log = (folder / f"{words[0]}.log").open("ab")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*QUELL, *self._words], cwd=self._folder, env=environment(), stdout=self._log, stderr=self._log
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self._log.close()


class Storm:
    """The processes and the target, and what people do meanwhile."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.port = folder, free_port()
        self.random = random.Random(7)
        (folder / "fixed").mkdir()
        (folder / "books").mkdir()
        do = folder / "do"
        do.write_text(DO.replace("@/", f"{folder}/"))
        do.chmod(0o755)
        for name, severity, approval in (("Auto", "P3", ""), ("Asks", "P1", ", requires_approval: true")):
            text = BOOK.format(id=name, severity=severity, approval=approval).replace("@/", f"{folder}/")
            (folder / "books" / f"{name}.yaml").write_text(text)
        services = ", ".join(f"{name}: {{}}" for name in self.services)
        (folder / "quell.yaml").write_text(
            f"database: {url}\nrunbooks: books\nservices: {{{services}}}\nscrape_interval: 100ms\n"
            "engine: {lease: 1s, poll: 0.1s, places: 6, park: 50ms}\nserver: {insecure: true}\n"
        )
        self.processes = [Process(folder, "serve", "--port", str(self.port))]
        if url.startswith("postgres"):
            self.processes += [Process(folder, "worker") for _ in range(2)]
        self.frozen: list[subprocess.Popen[bytes]] = []
        """Those that were stopped in the middle of their work, and replaced."""
        self.asked: list[str] = []
        """Approvals that asked whether it had happened."""
        self._over = threading.Event()
        self._people = threading.Thread(target=self._answer)
        self._people.start()

    @property
    def services(self) -> list[str]:
        return [f"s{number:02}" for number in range(INCIDENTS)]

    def end(self) -> None:
        self._over.set()
        self._people.join(30)
        for process in self.processes:
            process.end()
        for zombie in self.frozen:
            zombie.kill()
            zombie.wait()

    # Over HTTP, as long as it takes: the server is killed as well.

    def ask(self, path: str, body: Any = None) -> Any:
        deadline = time.monotonic() + WITHIN_S
        while True:
            with contextlib.suppress(OSError, ValueError):
                return self._once(path, body)
            assert time.monotonic() < deadline, f"{path} was never answered"
            time.sleep(0.05)

    def _once(self, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"X-Quell-User": "ann"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in (404, 409):  # somebody has answered already; who lost hears who won
                return json.load(error)
            raise

    def fire(self, name: str, service: str) -> None:
        labels = {"alertname": name, "service": service}
        alert = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": "2026-11-29T00:00:00Z",
                 "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": f"{name}{service}"}  # fmt: skip
        self.ask("/webhooks/alertmanager", {
            "version": "4", "groupKey": "{}", "status": "firing", "receiver": "quell", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [alert],
        })  # fmt: skip

    def open(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("/api/v1/incidents?open=true&limit=500")["incidents"]
        return found

    def _answer(self) -> None:
        """People say yes; asked whether something happened, they look at the target."""
        while not self._over.wait(0.1):
            for incident in self.open():
                for approval in incident["approvals"].values():
                    if approval["answer"] is None and not self._over.is_set():
                        self._say(approval)

    def _say(self, approval: dict[str, Any]) -> None:
        happened = True
        if approval["asks"] == "happened":
            self.asked.append(approval["approval"])
            happened = any(line.split()[1] in approval["targets"] for line in self.effects)
        said = "approve" if happened else "deny"
        self.ask(f"/api/v1/approvals/{approval['approval']}/{said}", {"reason": "it is so"})

    @property
    def effects(self) -> list[str]:
        path = self.folder / "effects"
        return path.read_text().splitlines() if path.exists() else []


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {WITHIN_S:g} s"
        time.sleep(0.1)


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def test_nothing_is_lost_or_done_twice_while_processes_are_killed(tmp_path: Path, url: str) -> None:
    storm = Storm(tmp_path, url)
    try:
        storm.ask("/healthz")
        firing = threading.Thread(target=_fire_all, args=(storm,))
        firing.start()
        _rage(storm)
        firing.join()
        for process in storm.frozen:
            process.send_signal(signal.SIGCONT)
        # What a person said had not happened is escalated, and stays open until somebody resolves it.
        until(lambda: all(one["outcome"] for one in storm.open()), "every run has ended")
    finally:
        storm.end()
    _judge(storm, url)


def _fire_all(storm: Storm) -> None:
    for number, service in enumerate(storm.services):
        storm.fire(("Auto", "Asks")[number % 2], service)
        time.sleep(EVERY_S * KILLS / INCIDENTS * 0.8)


def _rage(storm: Storm) -> None:
    """Kill one after the other. Some are not killed but frozen, replaced, and wake up when others have their work."""
    frozen = storm.frozen
    for number in range(KILLS):
        time.sleep(EVERY_S)
        one = storm.random.choice(storm.processes)
        if number % 6 == 5 and one is not storm.processes[0]:
            one.process.send_signal(signal.SIGSTOP)
            frozen.append(one.process)
        else:
            one.kill()
        one.start()
        if frozen and number % 6 == 2:
            frozen[-1].send_signal(signal.SIGCONT)  # a zombie: its lease ran out long ago


def _judge(storm: Storm, url: str) -> None:
    keys = Counter(line.split()[0] for line in storm.effects)
    services = Counter(line.split()[1] for line in storm.effects)
    assert {key: count for key, count in keys.items() if count > 1} == {}, "done twice under one key"
    assert {one: count for one, count in services.items() if count > 1} == {}, "done twice for one incident"
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            assert audit.verify(connection).faults == []
            found = queries.recent_incidents(connection, "default", limit=500)
            assert sorted(str(one.service) for one in found) == storm.services, "each alert has its incident, once"
            told = {one.id: queries.timeline(connection, one.tenant, one.id) for one in found}
            assert [one.id for one in found if fold(told[one.id]) != one] == [], "each row is the fold of its events"
            left = connection.exec_driver_sql("select state, count(*) from quell_intents group by state").all()
    finally:
        database.close()
    assert {state for state, _ in left} <= {"done", "failed"}, left
    for one in found:
        asked = [event for event in told[one.id] if event.kind is EventKind.APPROVAL_REQUESTED]
        unknown = [event for event in asked if event.payload.get("asks") == "happened"]
        assert len(unknown) <= 1
        if services[str(one.service)]:
            assert one.status.value in ("resolved", "mitigated"), (one.id, one.status, one.reason)
        else:  # the process died between the intent and the effect: a person said that it had not happened
            assert unknown, (one.id, one.status, one.reason)
    assert set(storm.asked) == {
        event.payload["approval"]
        for events_ in told.values()
        for event in events_
        if event.kind is EventKind.APPROVAL_REQUESTED and event.payload.get("asks") == "happened"
    }

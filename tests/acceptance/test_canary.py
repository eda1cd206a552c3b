"""A secret in every place that can hold one, systems that repeat all they are sent, and real incidents: none is seen.

Scanned is all that leads out of Quell: every answer and page, streams, logs, what commands print, the database with the
engine's own tables (as bytes, too), checkpoints, bundles, command lines, and what each system is told.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from quell import local
from quell.incident.incident import Incident
from tests.acceptance.canaries import Canaries
from tests.acceptance.gossip import Gossip, Parrot, repeated
from tests.acceptance.quell import Quell
from tests.cli.command import run_quell
from tests.servers.process import wait_until

TELLS = """\
#!/bin/sh
# Says all that it was given, as a program does whose author was in a hurry; and what every process here was called with.
env; echo "$@"; printf '%s' "$TOLD" | base64; printf '%s' "$TOLD" | od -An -tx1 | tr -d ' \\n'; echo
printf '%s' "$TOLD" | cut -c1-20
for one in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < "$one"; echo; done >> "$0.seen" 2>/dev/null
echo "cannot log in with $TOLD" >&2
exit "${ENDS:-0}"
"""
STEP = {"type": "automated", "timeout": "10s"}


def of_alert(name: str, said: str) -> dict[str, Any]:
    return {
        "status": "firing", "labels": {"alertname": name, "severity": "critical", "service": "shop"},
        "annotations": {"summary": f"shop cannot log in: {said}"}, "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "c0ffee0000000001", "generatorURL": f"http://p/?g={said}",
    }  # fmt: skip


def runbook(folder: Path, parrot: str) -> dict[str, Any]:
    tells = str(folder / "tells")
    checks = {
        "env": ("shell_command", {"command": [tells, "said"], "env": {"TOLD": "env:CANARY_CHECK"}},
                {"critical": "exit_code == 0", "healthy": "exit_code > 0"}),
        "prom": ("prometheus_query", {"query": "up"}, {"critical": "value > 1", "healthy": "value <= 1"}),
        "logs": ("log_search", {"query": '{app="shop"}'}, {"critical": "count > 0", "healthy": "count == 0"}),
        "web": ("http_check", {"urls": [{"name": "web", "url": f"{parrot}/page", "expect_body": "^all is well$",
                                         "headers": {"X-Api-Key": "env:CANARY_PAGE"}}]},
                {"critical": "any_unhealthy", "healthy": "all_healthy"}),
        "pg": ("database_query", {"database": "pg", "query": "SELECT 1"}, {"healthy": "value == 1"}),
        "old": ("database_query", {"database": "old", "query": "SELECT 1"}, {"healthy": "value == 1"}),
        "cache": ("redis", {}, {"healthy": "connected_clients > 0"}),
        "deploy": ("deployments", {"service": "shop"}, {"critical": "age < 10m", "healthy": "age >= 10m"}),
    }  # fmt: skip

    def run(**more: Any) -> dict[str, Any]:
        config = {"command": [tells, "said"], "secrets": {"TOLD": "env:CANARY_ACTION"}, "target": "shop", **more}
        return {"type": "run_script", "config": config}

    return {
        "id": "gossip", "severity": "P1", "service": "shop", "triggers": [{"type": "alert", "alert_name": "Gossip"}],
        "diagnostics": [{"id": name, "type": kind, "timeout": "5s", "config": config, "interpret": interpret}
                        for name, (kind, config, interpret) in checks.items()],
        "decision_tree": [{"condition": "env.critical", "then": [name]} for name in ("says", "fails", "sql", "again", "page")],
        "remediations": [
            {**STEP, "id": "says", "action": run(), "requires_approval": True, "approval": {"from": "webhook:ops"}},
            {**STEP, "id": "fails", "action": run(env={"ENDS": "3"})},
            {**STEP, "id": "sql", "action": {"type": "run_script", "config": {"database": "pg", "sql": "SELECT 2"}}},
            {**STEP, "id": "again", "action": {"type": "restart_service", "config": {"service": "jobs"}}},
            {"id": "page", "type": "escalate"},
        ],
        "verify": {"signals": ["env"], "stable_for": "100ms", "within": "300ms", "every": "50ms"},
        "escalation": {"primary": "#people", "secondary": "pagerduty:sre", "escalate_after_minutes": 0.01},
    }  # fmt: skip


class Guarded(Quell):
    """A Quell that asks everybody who they are, with secrets in its environment."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self.canaries = canaries

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.canaries.environment}

    @property
    def key(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.canaries.values['server']}"}

    def ask(self, path: str, *, accept: str = "application/json") -> httpx.Response:
        return httpx.get(self.url + path, headers={**self.key, "accept": accept}, timeout=20)

    def get(self, path: str) -> Any:
        return self.ask(path).raise_for_status().json()

    def ready(self) -> bool:
        try:
            return self.ask("/readyz").is_success
        except httpx.HTTPError:
            return False

    def post(self, path: str, document: Any, key: Mapping[str, str] | None = None) -> httpx.Response:
        return httpx.post(
            self.url + path, json=document, headers={**(key or self.key), "x-quell-user": "ann"}, timeout=20
        )

    def command(self, *words: str) -> bytes:
        """What it prints, to both outputs."""
        more = {**self.canaries.environment, "QUELL_SERVER": self.url, "QUELL_TOKEN": self.canaries.values["server"]}
        done = run_quell(self.folder, *words, **more)
        return f"{done.stdout}\n{done.stderr}".encode()


def settings_for(canaries: Canaries, parrot: str, gossip: int, folder: Path) -> dict[str, Any]:
    """A configuration with a canary in each place, each known to `canaries` by a name of its own."""
    plant = canaries.plant
    host = parrot.removeprefix("http://")
    for name in ("server", "alerts", "check", "page", "tenant", "prom", "kube", "hook_key"):
        plant(name)
    for name in ("pg", "redis", "loki", "action", "super", "ops_key"):
        plant(name, odd=True)
    plant("routing")
    literal = plant("literal")
    urls = {
        "slack_url": f"{parrot}/services/T0001/B0001/{plant('slack')}",
        "hook_url": f"{parrot}/hook/{plant('hook')}?token={plant('hook_query')}",
        "ops_url": f"http://joe:{plant('ops_login')}@{host}/hook/ops",
        "web_url": f"http://joe:{plant('web_login')}@{host}/web?token={plant('web_query')}",
    }
    names = {name.upper(): value for name, value in urls.items()}
    for name, value in names.items():
        (folder / name).write_text(value)
    (folder / "pg-password").write_text(canaries.values["pg"] + "\n")
    return {
        "server": {"port": 0, "token": "env:CANARY_SERVER"},
        "sources": {"alertmanager": {"token": "env:CANARY_ALERTS"}},
        "connections": {
            "prometheus": {"type": "prometheus", "url": f"{parrot}/prom", "token": "env:CANARY_PROM"},
            "loki": {"type": "loki", "url": f"{parrot}/loki", "username": "joe", "password": "env:CANARY_LOKI",
                     "headers": {"X-Scope-OrgID": "env:CANARY_TENANT"}},
            "web": {"type": "http", "url": f"file:{folder / 'WEB_URL'}"},
            "pg": {"type": "postgresql", "url": f"postgresql://quell@127.0.0.1:{gossip}/db",
                   "password": f"file:{folder / 'pg-password'}"},
            "old": {"type": "postgresql", "url": f"postgresql://quell:{literal}@127.0.0.1:{gossip}/db"},
            "cache": {"type": "redis", "url": f"redis://127.0.0.1:{gossip}/0", "password": "env:CANARY_REDIS"},
            "people": {"type": "slack", "url": f"file:{folder / 'SLACK_URL'}"},
            "sre": {"type": "pagerduty", "url": f"{parrot}/v2/enqueue", "password": "env:CANARY_ROUTING"},
            "hook": {"type": "webhook", "url": f"file:{folder / 'HOOK_URL'}", "password": "env:CANARY_HOOK_KEY"},
        },
        "notifiers": {"ops": {"type": "webhook", "url": f"file:{folder / 'OPS_URL'}", "secret": "env:CANARY_OPS_KEY"}},
        "services": {
            "shop": {"driver": {"type": "kubernetes", "deployment": "shop", "namespace": "x", "url": f"{parrot}/kube",
                                "token": "env:CANARY_KUBE"}},
            "jobs": {"driver": {"type": "supervisord", "url": f"{parrot}/RPC2", "username": "me", "group": "jobs",
                                "password": "env:CANARY_SUPER"}},
        },
    }  # fmt: skip


def dumped(database: Path) -> dict[str, bytes]:
    """Every table, ours and the engine's, and the files as they lie on the disk."""
    found = {f"bytes of {file.name}": file.read_bytes() for file in database.parent.glob(f"{database.name}*")}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            rows = connection.execute(f'select * from "{table}"').fetchall()
            found[f"table {table}"] = "\n".join(map(repr, rows)).encode()
    return found


def drive(quell: Guarded, canaries: Canaries) -> Incident:
    """An alert to its end: checks, approvals, actions, verification, and people who are paged."""
    said = canaries.values["check"]
    alerts = [of_alert("Gossip", said), {"status": "firing", "labels": f"no labels, but {said}"}]
    body = {"version": "4", "status": "firing", "receiver": "quell", "groupKey": "{}", "alerts": alerts}
    taken = quell.post("/webhooks/alertmanager", body, {"authorization": f"Bearer {canaries.values['alerts']}"})
    assert taken.status_code < 300, taken.text
    incident = quell.opens()

    def over() -> bool:
        known = quell.incident(incident)
        for one in known.waiting:
            quell.post(f"/api/v1/approvals/{one.approval}/approve", {"reason": "yes"})
        return known.outcome is not None

    wait_until(over, "the end of the run", 40)
    wait_until(lambda: sum(one.kind.value == "notified" for one in quell.timeline(incident)) >= 3, "pages", 20)
    return quell.incident(incident)


MEANT = {
    "/prom": {"prom"}, "/loki": {"loki", "tenant"}, "/page": {"page"}, "/services": {"slack"}, "/hook/ops": {"ops_login"},
    "/hook": {"hook", "hook_query", "hook_key"}, "/kube": {"kube"}, "/RPC2": {"super"}, "/v2": {"routing"},
    "/web": {"web_login", "web_query"},
}  # fmt: skip
"""Which secrets are for whom, by the beginning of an address; the longest counts."""


def told_to(parrot: Parrot) -> list[tuple[str, frozenset[str], bytes]]:
    """(path, the secrets that are meant for it, all that was sent)."""
    found = []
    for one in parrot.requests:
        mine = max((path for path in MEANT if one.path.startswith(path)), key=len)
        login = one.headers.get("authorization", "")
        sent = f"{one.method} {one.path} {one.query} {dict(one.headers)} {login}".encode() + one.body
        found.append((one.path, frozenset(MEANT[mine]), sent))
    return found


def answers(quell: Guarded, incident: str) -> dict[str, bytes]:
    """What every GET of the API and every page answers, and the streams as far as they have come."""
    alert = quell.get("/api/v1/alerts")["alerts"][0]["fingerprint"]
    quiet = {"matchers": ["alertname=Quiet"], "for": "1h", "reason": "for a while"}
    silence = quell.post("/api/v1/silences", quiet).raise_for_status().json()["id"]
    names = {"{incident}": incident, "{runbook}": "gossip", "{alert}": alert, "{silence}": silence}
    found = {}
    for path, deeds in quell.get("/api/v1/openapi.json")["paths"].items():
        if "get" not in deeds or path.endswith(("/events", "/sign-in")):
            continue
        for name, value in names.items():
            path = path.replace(name, value)
        assert "{" not in path, f"the test does not know what to put into {path}"
        answer = quell.ask(path)
        assert answer.status_code < 400, f"{path}: {answer.text}"
        found[path] = answer.content + repr(answer.headers).encode()
    pages = ("/", f"/incidents/{incident}", f"/incidents/{incident}/why", f"/incidents/{incident}/alerts", "/runbooks",
             "/runbooks/gossip", "/alerts", f"/alerts/{alert}", "/silences", "/route?labels=alertname%3DGossip", "/workers", "/nowhere")  # fmt: skip
    for path in pages:
        found[f"page {path}"] = quell.ask(path, accept="text/html").content
    found["events"] = streamed(quell, f"/api/v1/incidents/{incident}/events", b"notified")
    return found


def streamed(quell: Guarded, path: str, mark: bytes) -> bytes:
    """What a stream says until it has said `mark`."""
    data = b""
    with httpx.stream("GET", quell.url + path, headers=quell.key, timeout=10) as answer:
        for part in answer.iter_raw():
            data += part
            if mark in data:
                break
    return data


def commands(quell: Guarded, incident: str) -> dict[str, bytes]:
    asked = (
        "doctor --notify", "lint runbooks --config quell.yaml", "plan runbooks/gossip.json",
        "run runbooks/gossip.json --config quell.yaml --db other.db --dry-run", f"incidents show {incident}",
        f"audit report {incident}", "audit checkpoint", "audit export",
    )  # fmt: skip
    with ThreadPoolExecutor(3) as pool:
        told = pool.map(lambda line: quell.command(*line.split()), asked)
    return {f"quell {line}": said for line, said in zip(asked, told, strict=True)}


def strangers(quell: Guarded, canaries: Canaries) -> dict[str, bytes]:
    """What those are answered whose credentials are wrong, or come where none belong."""
    guess = canaries.plant("guess")
    wrong = {"authorization": f"Bearer {guess}"}
    posted = {"comment": canaries.values["pg"], "by": {canaries.values["kube"]: 1}}
    tried = {
        "a wrong token": httpx.get(quell.url + "/api/v1/me", headers=wrong),
        "a wrong token, as a page": httpx.get(quell.url + "/", headers={**wrong, "accept": "text/html"}),
        "a wrong source": quell.post("/webhooks/alertmanager", {}, wrong),
        "a wrong link": httpx.get(f"{quell.url}/sign-in?token={guess}", headers={"accept": "text/html"}),
        "a wrong sign-in": httpx.post(quell.url + "/sign-in", data={"token": guess}, headers={"accept": "text/html"}),
        "a body with secrets": quell.post("/api/v1/incidents/trigger", posted),
    }
    assert all(answer.status_code >= 400 for answer in tried.values()), tried
    return {place: answer.content for place, answer in tried.items()}


def minted(quell: Guarded, canaries: Canaries) -> None:
    """What Quell itself makes: a token, a link to sign in, a session. Each is shown once, to whoever asked."""
    told = json.loads(quell.command("token", "create", "ann", "--role", "viewer", "--json", "--by", "ann").decode())
    canaries.values["minted"] = token = told["text"]
    assert httpx.get(quell.url + "/api/v1/me", headers={"authorization": f"Bearer {token}"}).is_success
    path = quell.post("/api/v1/sign-in-links", {}).json()["path"]
    canaries.values["link"] = path.partition("token=")[2]
    signed = httpx.get(quell.url + path)
    canaries.values["session"] = next(iter(signed.cookies.values()))
    if key := local.read(quell.url):
        canaries.values["own key"] = key


def test_no_canary_is_seen_anywhere(tmp_path: Path) -> None:
    canaries = Canaries()
    with Parrot() as parrot, Gossip() as gossip:
        quell = Guarded(canaries)
        settings = settings_for(canaries, parrot.url, gossip.port, tmp_path)
        settings["server"] |= {"port": quell.port, "base_url": quell.url}
        tells = tmp_path / "tells"
        tells.write_text(TELLS)
        tells.chmod(0o755)
        quell.configured(settings, {"gossip.json": json.dumps(runbook(tmp_path, parrot.url))})
        with quell:
            minted(quell, canaries)
            incident = drive(quell, canaries)
            seen = {**answers(quell, incident.id), **strangers(quell, canaries), **commands(quell, incident.id)}
            lines = (tmp_path / "tells.seen").read_bytes()
            quell.stop()
            seen |= {"command lines": lines, "the server's log": (quell.folder / "server.log").read_bytes()}
            seen |= dumped(quell.folder / "quell.db")
            audit = quell.folder / "audit"
            seen |= {f"audit/{one.name}": one.read_bytes() for one in audit.rglob("*") if one.is_file()}
        log = seen[f"/api/v1/incidents/{incident.id}/timeline"]
        # Each system was asked, and each has said something: else this would show nothing.
        assert {path for path in MEANT if any(one.path.startswith(path) for one in parrot.requests)} == set(MEANT)
        assert log.count("•••".encode()) > 10, log
        for kind in (
            "check.finished",
            "approval.requested",
            "action.intended",
            "action.finished",
            "escalated",
            "notified",
        ):
            assert kind.encode() in log, f"no {kind} in {log!r}"
        assert any(name.startswith("audit/") for name in seen)
        leaks = canaries.seen(seen)
        for path, meant, sent in told_to(parrot):
            leaks += canaries.seen({f"sent to {path}": sent}, meant)
        leaks += canaries.seen({"sent to databases": b"".join(gossip.heard)}, frozenset({"pg", "literal", "redis"}))
    assert not leaks, "\n".join(leaks)


SHAPES = {
    "connections": {
        "text": "postgresql://joe:CANARY@db.example.org/x",
        "list": {"type": "redis", "password": ["CANARY"]},
        "key": {"type": "redis", "pasword": "CANARY"},
        "header": {"type": "http", "headers": {"Authorization": {"Bearer": "CANARY"}}},
    },
    "notifiers": {"ops": "https://hooks.example.org/services/CANARY"},
    "server": {"token": {"is": "CANARY"}, "port": "https://joe:CANARY@example.org"},
    "database": "postgresql://joe:CANARY@[h/x",
}
VALUES = {
    "connections": {
        "literal": {"type": "redis", "password": "CANARY"},
        "list": {"type": "http", "url": "http://127.0.0.1:1/", "headers": {"X-Token": "CANARY"}},
        "address": {"type": "postgresql", "url": "postgresql://joe:CANARY/#@h"},
    },
    "server": {"token": "CANARY"},
    "sources": {"alertmanager": {"token": {"is": "CANARY"}}},
    "notifiers": {"ops": {"type": "pagerduty", "routing_key": ["CANARY"]}},
}
BROKEN = {"shapes": SHAPES, "values": VALUES, "nobody there": {"database": "postgresql://joe:CANARY@127.0.0.1:1/x"}}


def test_no_canary_is_seen_in_what_is_wrong_with_a_configuration(tmp_path: Path) -> None:
    seen: dict[str, bytes] = {}
    canaries = Canaries()
    for name, settings in BROKEN.items():
        text = json.dumps(settings)
        while "CANARY" in text:
            text = text.replace("CANARY", canaries.plant(f"{name} {len(canaries.values)}"), 1)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "quell.yaml").write_text(text)
    asked = [(name, line) for name in BROKEN for line in ("doctor --timeout 2s", "serve --port 0")]
    with ThreadPoolExecutor(3) as pool:
        told = pool.map(lambda one: run_quell(tmp_path / one[0], *one[1].split()), asked)
    for (name, line), done in zip(asked, told, strict=True):
        assert done.returncode == 1, done
        seen[f"{line}: {name}"] = f"{done.stdout}\n{done.stderr}".encode()
    assert not (leaks := canaries.seen(seen)), "\n".join(leaks)


def test_the_search_itself_finds_what_it_looks_for() -> None:
    canaries = Canaries()
    value = canaries.plant("one", odd=True)
    assert not canaries.seen({"page": b"nothing to see"})
    for line in repeated(value).split("\n"):
        if len(line) > 24:
            assert canaries.seen({"page": f"so it said {line} and no more".encode()}), line

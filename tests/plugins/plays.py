"""How each shipped plug-in is led to a hostile server: its parameters and connections for a scene.

A plug-in that talks to no network is in ``LOCAL``, with what it touches instead. Never pretends: the server is real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quell.incident.service import DriverChoice
from quell.ports import Connection, Service
from quell.testing import Scene, Stage


def _connected(
    type_: str, url: str, config: Mapping[str, Any], *, headers: bool = False, user: str = ""
) -> Callable[[Scene], Stage]:
    """One connection ``there``; its password, and where it is HTTP a header and the URL's token too, are the canary."""

    def play(scene: Scene) -> Stage:
        made = Connection(
            "there",
            type_,
            url.format(address=scene.address, port=scene.port, canary=scene.canary),
            username=user,
            password=scene.canary,
            headers={"X-Team-Token": scene.canary} if headers else {},
        )
        return Stage(config, [made])

    return play


def _service(config: Mapping[str, Any], **driver: Any) -> Callable[[Scene], Stage]:
    """The service ``payment``, moved by one driver that is given the canary as its own secret."""

    def play(scene: Scene) -> Stage:
        filled = {
            key: value.format(address=scene.address, reference=scene.reference) if isinstance(value, str) else value
            for key, value in driver.items()
        }
        service = Service(name="payment", drivers=(DriverChoice.model_validate(filled),))
        return Stage(config, (), [service], reads=("supervisor.getAllProcessInfo", "supervisor.getProcessInfo"))

    return play


SUPERVISORD = {
    "type": "supervisord",
    "url": "http://{address}",
    "username": "u",
    "password": "{reference}",
    "group": "payment",
}
KUBERNETES = {
    "type": "kubernetes",
    "url": "http://{address}",
    "token": "{reference}",
    "deployment": "payment",
    "namespace": "shop",
}


def _http_check(scene: Scene) -> Stage:
    url = f"http://{scene.address}/health?token={scene.canary}"
    return Stage({"urls": [{"url": url, "headers": {"Authorization": f"Bearer {scene.canary}"}}]})


def _certificate(scene: Scene) -> Stage:
    return Stage({"host": "127.0.0.1", "port": scene.port})


def _slack(scene: Scene) -> Stage:
    return Stage(
        {"target": "slack:there"}, [Connection("there", "slack", f"http://{scene.address}/services/{scene.canary}")]
    )


def _pagerduty(scene: Scene) -> Stage:
    there = Connection("there", "pagerduty", f"http://{scene.address}/v2/enqueue", password=scene.canary)
    return Stage({"target": "pagerduty:there"}, [there])


def _calendar(scene: Scene) -> Stage:
    return Stage({"url": f"http://{scene.address}/private-{scene.canary}/basic.ics?key={scene.canary}"})


_POSTGRES = "postgresql://reader@{address}/payments"
_QUERY = {"database": "there", "query": "select 1"}

PLAYS: dict[tuple[str, str], Callable[[Scene], Stage]] = {
    ("checks", "certificate"): _certificate,
    ("checks", "database_query"): _connected("postgresql", _POSTGRES, _QUERY),
    ("checks", "deployments"): _service({"service": "payment"}, **KUBERNETES),
    ("checks", "http_check"): _http_check,
    ("checks", "log_search"): _connected("loki", "http://{address}", {"service": "payment"}, headers=True),
    ("checks", "prometheus_query"): _connected("prometheus", "http://{address}", {"query": "up"}, headers=True),
    ("checks", "redis"): _connected("redis", "redis://{address}/0", {}),
    ("actions", "drain_queue"): _connected("redis", "redis://{address}/0", {"queue": "jobs"}),
    ("actions", "failover_db"): _connected("postgresql", _POSTGRES, {"to": "there"}),
    ("actions", "flush_cache"): _connected("redis", "redis://{address}/0", {"pattern": "a:*"}),
    ("actions", "http_request"): _connected(
        "http", "http://{address}", {"connection": "there", "path": "/hit", "body": {"uid": "a"}}, headers=True
    ),
    ("actions", "job"): _connected(
        "http", "http://{address}", {"job": "there:fence", "find": "/jobs?key={key}"}, headers=True
    ),
    ("actions", "restart_service"): _service({"service": "payment"}, **SUPERVISORD),
    ("actions", "rollback"): _service({"service": "payment"}, **KUBERNETES),
    ("actions", "run_script"): _connected("postgresql", _POSTGRES, {"database": "there", "sql": "select 1"}),
    ("actions", "scale_up"): _service({"service": "payment", "by": 1}, **KUBERNETES),
    ("actions", "set_flag"): _connected(
        "http", "http://{address}", {"connection": "there", "flag": "breaker"}, headers=True
    ),
    ("actions", "terminate_sessions"): _connected("postgresql", _POSTGRES, {"database": "there", "role": "app"}),
    ("notifiers", "pagerduty"): _pagerduty,
    ("notifiers", "slack"): _slack,
    ("notifiers", "webhook"): _connected(
        "webhook", "http://{address}/hook?token={canary}", {"target": "webhook:there"}, headers=True
    ),
    ("schedules", "ical"): _connected(
        "ical", "http://{address}/{canary}/rota.ics", {"connection": "there"}, headers=True, user="quell"
    ),
    ("schedules", "pagerduty"): _connected("pagerduty_api", "http://{address}", {"schedule": "PI7DH85"}, headers=True),
    ("schedules", "slack"): _connected("slack_api", "http://{address}/api", {"group": "S0614TZR7"}, headers=True),
}

MORE_PLAYS: dict[tuple[str, str, str], Callable[[Scene], Stage]] = {
    ("checks", "database_query", "mysql"): _connected("mysql", "mysql://reader@{address}/payments", _QUERY),
    ("checks", "deployments", "postgresql"): _connected(
        "postgresql", _POSTGRES, {"database": "there", "table": "deployments"}
    ),
    ("actions", "http_request", "basic"): _connected(
        "http", "http://{address}", {"connection": "there", "path": "/hit"}, user="quell"
    ),
    ("actions", "restart_service", "kubernetes"): _service({"service": "payment"}, **KUBERNETES),
    ("actions", "set_flag", "redis"): _connected(
        "redis", "redis://{address}/0", {"connection": "there", "flag": "breaker"}
    ),
    ("actions", "terminate_sessions", "mysql"): _connected(
        "mysql", "mysql://admin@{address}/payments", {"database": "there", "role": "app"}
    ),
    ("schedules", "ical", "url"): _calendar,
    ("schedules", "ical", "token"): _connected("ical", "http://{address}/rota.ics", {"connection": "there"}),
}
"""Plug-ins that reach several kinds of systems, or in several ways."""

LOCAL = {
    ("checks", "disk"): "file systems of this host",
    ("checks", "process"): "processes of this host",
    ("checks", "shell_command"): "programs of this host",
    ("notifiers", "log"): "the log",
    ("schedules", "rotation"): "nothing; it is counted",
}


def _tree(folder: Path) -> dict[str, Any]:
    """Everything below a folder: links with where they point, files with their bytes."""
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def _flag_in_a_file(scene: Scene) -> Stage:
    file = scene.folder / "flags.json"
    file.write_text('{"breaker": "closed"}')
    config = {"file": str(file), "flag": "breaker", "value": "open"}
    return Stage(config, snapshot=lambda: _tree(scene.folder))


def _program(scene: Scene) -> Stage:
    return Stage({"command": ["touch", str(scene.folder / "done")]}, snapshot=lambda: _tree(scene.folder))


AT_HOME: dict[tuple[str, str], Callable[[Scene], Stage]] = {
    ("actions", "set_flag"): _flag_in_a_file,
    ("actions", "run_script"): _program,
}
"""Actions on files of this host, whose whole state can be seen: a dry run leaves every byte of it."""


def on_redis(url: str, config: Mapping[str, Any], state: Callable[[], Any]) -> Callable[[Scene], Stage]:
    """A stage on a real Redis; ``state`` tells all that is in it."""
    return lambda scene: Stage(config, [Connection("there", "redis", url)], snapshot=state)

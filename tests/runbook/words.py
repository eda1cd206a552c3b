"""A Vocabulary made by hand: the runbook room is tested without any plug-in.

Never pretends to be the installed plug-ins: that these agree with their runbooks is tests/cli's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quell.runbook.vocabulary import ActionWord, CheckWord, Config, Fault, Vocabulary

SHELL_FACTS = {
    "exit_code": "number", "stdout": "string", "lines": "list<string>", "value": "number", "newest": "time",
    "age": "duration:s", "no_recent_deploy": "bool", "deploy_within_30m": "bool", "deploy_within_5m": "bool",
}  # fmt: skip
SERVICE_FACTS = {
    "ready_count": "number", "total_count": "number", "all_ready": "bool", "version": "string", "rolling": "bool",
}  # fmt: skip


SCRIPT = ("script", "command", "args", "database", "sql", "undo_sql", "identifiers", "params", "captured", "service")


def _metric_facts(config: Config) -> Mapping[str, Any]:
    kind = {"percent": "percent:bare", "milliseconds": "duration:ms"}.get(str(config.get("unit")), "number")
    return {
        "value": kind, "ready_count": "number", "total_count": "number", "series_count": "number", "all_ready": "bool",
        "labels": "record", "age": "duration:s",
    }  # fmt: skip


def _window(config: Config) -> float:
    ranges = re.findall(r"\[(\d+)m\]", str(config.get("query", "")))
    return 60.0 * max(map(int, ranges), default=0) + 15.0


def _metric_hint(config: Config) -> str | None:
    query = str(config.get("query", ""))
    if "/ rate(" in query and "sum(" not in query:
        return "a ratio without aggregation"
    if "{" in query and "sum(" not in query and "reduce" not in config:
        return "the query may give several series where one value is asked"
    return None


def _metric_gate(config: Config) -> str | None:
    return None if ">" in str(config.get("query", ">")) else "the query compares nothing"


def _needs(*names: str) -> Any:
    def faults(config: Config) -> list[Fault]:
        given = {**config, **({"service": config["deployment"]} if "deployment" in config else {})}
        return [Fault((name,), f"missing parameter {name!r}") for name in names if name not in given]

    return faults


def _takes(*names: str) -> Any:
    def faults(config: Config) -> list[Fault]:
        return [Fault((name,), f"unknown parameter {name!r}", name) for name in config if name not in names]

    return faults


CHECKS = (
    CheckWord("prometheus_query", _metric_facts, _needs("query"), _window, _metric_hint, _metric_gate),
    CheckWord(
        "http_check",
        lambda config: {
            "all_healthy": "bool", "any_unreachable": "bool", "any_slow": "duration:ms", "max_latency": "duration:ms",
            "status": "number",
        },
    ),
    CheckWord("shell_command", lambda config: SHELL_FACTS, _needs("command"), signal=False, shell=("command",)),
    CheckWord(
        "database_query",
        lambda config: {
            "row_count": "number", "rows": "list<record>", "first": "record", "value": "any", "reached": "number",
            "connected": "bool",
        },
        _needs("query"),
    ),
    CheckWord("log_search", lambda config: {"count": "number", "rate_per_minute": "number", "samples": "list<string>"}),
    CheckWord(
        "deployments",
        lambda config: {
            "age": "duration:s", "started_at": "time", "version": "string", "rolling": "bool",
            "migrations_reversible": "bool", "previous": {"exists": "bool", "version": "string"},
        },
        _needs("service"),
        signal=False,
    ),
)  # fmt: skip

ACTIONS = (
    ActionWord("restart_service", _needs("service"), SERVICE_FACTS, has_undo=False, limits={"max_replicas": "…"}),
    ActionWord("scale_up", _needs("service"), SERVICE_FACTS, has_undo=True, limits={"max": "…", "max_added": "…"}),
    ActionWord("rollback", _needs("service"), {**SERVICE_FACTS, "wanted": "string"}, risk="high"),
    ActionWord("flush_cache"),
    ActionWord("run_script", _takes(*SCRIPT), facts={}, risk="high", shell=("command",)),
    ActionWord(
        "terminate_sessions", facts={"terminated": "number"}, limits={"max_sessions": "…", "never_application": "…"}
    ),
    ActionWord("failover_db", facts={"writable": "bool"}, risk="high"),
    ActionWord("job", _needs("job"), {"fenced": "bool"}),
    ActionWord("set_flag", _needs("flag"), {"value": "any"}, has_undo=True),
    ActionWord("notify"),
)

WORDS = Vocabulary(
    checks={word.name: word for word in CHECKS},
    actions={word.name: word for word in ACTIONS} | {"rollback_deploy": ACTIONS[2]},
)

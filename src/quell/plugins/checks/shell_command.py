"""Run one program on this machine and read what it says.

    - id: deploy
      type: shell_command
      config:
        command: [kubectl, rollout, history, deployment/payment, -n, production]   # argv: no shell
        env: {KUBECONFIG: /etc/quell/kubeconfig}
      interpret: {healthy: no_recent_deploy, warning: deploy_within_30m, critical: deploy_within_5m}

A list is the argument vector and sees no shell; a single string goes to ``/bin/sh -c`` and may hold no template (lint
enforces it). The facts about deploys come from ``newest``, the newest moment in the output that has been; an output
without one gives no data. Standard input is closed, the environment is PATH, HOME, LANG and ``env``; a value of
``env`` written ``env:NAME`` or ``file:PATH`` is a secret and is masked in all that is shown.
Never does: leave a process behind, read more than ``max_bytes``, take a command that failed for a quiet system.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, field_validator

from quell import ports
from quell.plugins.checks import _process
from quell.plugins.checks._durations import Bytes, Seconds
from quell.plugins.checks._timestamps import newest
from quell.ports import Command, FactSpec, Missing, Probe, Reading

_WITHIN = {"5m": 300.0, "10m": 600.0, "15m": 900.0, "30m": 1800.0, "60m": 3600.0, "1h": 3600.0, "2h": 7200.0,
           "24h": 86_400.0}  # fmt: skip
_FROM_NEWEST = ("newest", "age", "no_recent_deploy", *(f"deploy_within_{span}" for span in _WITHIN))
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_LONGEST_LINE = 4000
_MOST_LINES = 1000
_SHOWN = 2000
_INLINE_BYTES = 16 * 1024
"""What a program said beyond this is read in a thread, so that a chatty one does not hold up the other checks."""
_PIECE = 64 * 1024
_REASON = 200
_MASK = "***"

SIGNAL = False
"""A command may tell of the past (a deploy); verification asks it only when the runbook says so."""
SHELL = ("command",)
FACTS: Mapping[str, FactSpec] = {
    "exit_code": "number", "stdout": "string", "stderr": "string", "lines": "list<string>", "line_count": "number",
    "value": "number", "truncated": "bool", "newest": "time", "age": "duration:s", "no_recent_deploy": "bool",
    **{f"deploy_within_{span}": "bool" for span in _WITHIN},
}  # fmt: skip


def _argv(value: Any) -> Any:
    return tuple(str(item) if isinstance(item, int | float) else item for item in value) if _is_list(value) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


class Params(ports.Params):
    """``recent`` is how new a deploy must be to be recent; ``timezone`` reads moments that name no zone."""

    command: Annotated[tuple[str, ...] | str, BeforeValidator(_argv)]
    """A list (argv, no shell), or one string for ``/bin/sh -c``."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables; a value ``env:NAME`` or ``file:PATH`` is a secret."""
    cwd: str | None = None
    """The folder to run in."""
    max_bytes: Annotated[Bytes, Field(ge=1, le=16 * 1024 * 1024)] = 256 * 1024
    """How much of the output is read."""
    recent: Seconds = 1800.0
    timezone: str = "UTC"

    @field_validator("command")
    @classmethod
    def _something(cls, command: tuple[str, ...] | str) -> tuple[str, ...] | str:
        first = command if isinstance(command, str) else next(iter(command), "")
        if not first.strip():
            raise ValueError("the command is empty")
        return command

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        _zone(name)
        return name


def _zone(name: str) -> tzinfo:
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone {name!r}; write one as Europe/Berlin") from None


def commands_of(params: Params) -> tuple[Command, ...]:
    if isinstance(params.command, str):
        return (Command(line=params.command, env=params.env, cwd=params.cwd),)
    return (Command(params.command, env=params.env, cwd=params.cwd),)


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Permanent`` (missing, denied) when the program cannot be run, ``Transient`` when only not now."""
    secret = {name: probe.secret(value) for name, value in params.env.items() if value.startswith(("env:", "file:"))}
    argv = ("/bin/sh", "-c", params.command) if isinstance(params.command, str) else params.command
    ran = await _process.run(argv, max_bytes=params.max_bytes, env={**params.env, **secret}, cwd=params.cwd)
    secrets, now = tuple(secret.values()), probe.now().timestamp()
    if len(ran.stdout) + len(ran.stderr) <= _INLINE_BYTES:
        return _reading(params, ran, secrets, now)
    return await asyncio.to_thread(_reading, params, ran, secrets, now)


def _reading(params: Params, ran: _process.Ran, secrets: tuple[str, ...], now: float) -> Reading:
    stdout, stderr = (_text(data, secrets) for data in (ran.stdout, ran.stderr))
    found, missing = _facts(ran, stdout, stderr)
    _deploys(params, stdout, now, found, missing, _unusable(ran) or _failed(ran, stderr))
    evidence = {
        "command": list(params.command) if not isinstance(params.command, str) else params.command,
        "exit_code": ran.exit_code, "stdout": stdout[-_SHOWN:], "stderr": stderr[-_SHOWN:],
        "truncated": ran.truncated,
    }  # fmt: skip
    return Reading(found, missing=missing, summary=_summary(ran, stdout, stderr), evidence=evidence)


def _text(data: bytes, secrets: tuple[str, ...]) -> str:
    text = data.decode("utf-8", "replace").replace("\0", "\ufffd")
    for secret in secrets:
        if secret:
            text = text.replace(secret, _MASK)
    return text


def _facts(ran: _process.Ran, stdout: str, stderr: str) -> tuple[dict[str, Any], dict[str, Missing]]:
    found: dict[str, Any] = {"stderr": stderr.rstrip("\n"), "truncated": ran.truncated}
    missing: dict[str, Missing] = {}
    if ran.exit_code is None:
        missing["exit_code"] = Missing("the command was killed at the limit of its output", "too_large")
    elif (died := _died(ran)) is not None:
        missing["exit_code"] = died
    else:
        found["exit_code"] = ran.exit_code
    if (unusable := _unusable(ran)) is not None:
        return found, missing | dict.fromkeys(("stdout", "lines", "line_count", "value"), unusable)
    lines: list[str] = []
    count = 0
    for piece in _pieces(stdout):
        lines += (line[:_LONGEST_LINE] for line in piece[: _MOST_LINES - len(lines)])
        count += len(piece)
    found |= {"stdout": stdout.rstrip("\n"), "line_count": count, "lines": lines}
    number = stdout.strip()
    if len(number) <= 64 and _NUMBER.fullmatch(number) and math.isfinite(float(number)):
        found["value"] = float(number) if re.search(r"[.eE]", number) else int(number)
    else:
        missing["value"] = _failed(ran, stderr) or Missing("the output is not one number")
    return found, missing


def _pieces(text: str) -> Iterator[list[str]]:
    """The lines, some at a time: splitting a flood at once would stop every other thread meanwhile."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _PIECE) + 1 or len(text)
        yield text[start:end].splitlines()
        start = end


def _first_words(text: str) -> str:
    """The first line that says something; ``text`` may be a flood, so it is not split."""
    return next(iter(text.lstrip()[:_REASON].splitlines()), "").rstrip()


def _unusable(ran: _process.Ran) -> Missing | None:
    """Why the output says nothing at all: half of it, or no text. What was counted in it would be a guess."""
    if ran.truncated:
        return Missing("the command wrote more than it may and was cut off", "too_large")
    if (died := _died(ran)) is not None:
        return died
    try:
        binary = "\0" in ran.stdout.decode("utf-8")
    except UnicodeDecodeError as error:
        return Missing(f"the output is no text: byte 0x{ran.stdout[error.start]:02x} at {error.start}", "invalid")
    return Missing("the output is no text: it holds NUL", "invalid") if binary else None


def _died(ran: _process.Ran) -> Missing | None:
    """It had no time to say how it went: neither its code nor what it had written so far is an answer."""
    name = _process.signal_name(ran.exit_code)
    return Missing(f"the command was ended by {name}", "failed") if name else None


def _failed(ran: _process.Ran, stderr: str) -> Missing | None:
    """Why an output that lacks something says nothing: the command failed, so it is not that there is nothing."""
    if ran.exit_code in (0, None):
        return None
    words = _first_words(stderr)
    return Missing(f"the command failed with exit code {ran.exit_code}{': ' if words else ''}{words}", "failed")


def _deploys(
    params: Params, stdout: str, now: float, found: dict[str, Any], missing: dict[str, Missing], failed: Missing | None
) -> None:
    stamp = None
    if failed is None:
        try:
            stamp = newest(stdout, now, _zone(params.timezone))
        except ValueError as error:
            failed = Missing(f"the output is {error}: it is not searched for moments", "too_large")
    if stamp is None:
        missing |= dict.fromkeys(_FROM_NEWEST, failed or Missing("the output holds no moment"))
        return
    age = max(0.0, now - stamp)
    found |= {"newest": stamp, "age": age, "no_recent_deploy": age > params.recent}
    found |= {f"deploy_within_{span}": age <= limit for span, limit in _WITHIN.items()}


def _summary(ran: _process.Ran, stdout: str, stderr: str) -> str:
    if ran.exit_code is None:
        return "killed at the limit of its output"
    if (name := _process.signal_name(ran.exit_code)) is not None:
        return f"ended by {name}: {_first_words(stderr or stdout) or 'no output'}"
    shown = stdout if ran.exit_code == 0 else stderr or stdout
    return f"exit {ran.exit_code}: {_first_words(shown) or 'no output'}"

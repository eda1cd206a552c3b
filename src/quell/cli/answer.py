"""Who answers an approval in ``quell run``: a person at the terminal, ``--approve``, or nobody, which is a no at once.

Never does: wait for somebody who cannot be there; agree to an action that is not the one shown.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TextIO

from quell.cli.output import paint

USER_VARIABLE = "QUELL_USER"
HOUSE = "quell"
"""Who answers when no person does."""


class Answer(NamedTuple):
    """``answer``: approved, denied, done, failed, or taken (the person takes the incident over).

    ``by`` is empty when it is the answer of the person who runs this.
    """

    answer: str
    reason: str = ""
    by: str = ""


class Answerer(Protocol):
    async def answer(self, request: Mapping[str, Any]) -> Answer:
        """The answer to the payload of ``approval.requested``; cancelled when it is no longer asked for."""
        ...


def user_name(given: str | None) -> str:
    """Who says so: the option, ``$QUELL_USER``, the login name."""
    if name := given or os.environ.get(USER_VARIABLE):
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in a container
        return f"uid {os.getuid()}"


def is_manual(request: Mapping[str, Any]) -> bool:
    return request.get("action") == "manual"


def needs_others(request: Mapping[str, Any]) -> Answer | None:
    """A no when more people must agree than one run has."""
    people = int(request.get("people") or 1)
    if people <= 1:
        return None
    return Answer("denied", f"it needs {people} people, and a run has one: use quell serve", HOUSE)


class Nobody:
    """There is no terminal and no ``--approve``."""

    async def answer(self, request: Mapping[str, Any]) -> Answer:
        said = "nobody can answer: there is no terminal"
        if is_manual(request):
            return Answer("failed", said, HOUSE)
        return Answer("denied", f"{said} and no --approve", HOUSE)


class Agreed:
    """``--approve`` says yes to every action; it cannot do a manual step."""

    async def answer(self, request: Mapping[str, Any]) -> Answer:
        if is_manual(request):
            return Answer("failed", "a manual step, and nobody is there to do it", HOUSE)
        return needs_others(request) or Answer("approved", "--approve")


_ACTION = {"approve": "approved", "deny": "denied", "take over": "taken"}
_SPOKEN = {"y": "approve", "yes": "approve", "n": "deny", "no": "deny"}
_MANUAL = {"done": "done", "failed": "failed", "take over": "taken"}


class Terminal:
    """Asks at the terminal: a letter or a word, then a reason if one is wanted."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, request: Mapping[str, Any]) -> Answer:
        if alone := needs_others(request):
            return alone
        choices = _MANUAL if is_manual(request) else _ACTION
        async with self._one_at_a_time:
            while True:
                line = await self._line("  ".join(f"[{word[0]}]{word[1:]}" for word in choices) + " ▸ ")
                if not line:
                    return Answer("failed" if is_manual(request) else "denied", "the terminal was closed", HOUSE)
                word, _, reason = line.strip().partition(" ")
                word = _SPOKEN.get(word.lower(), word.lower())
                chosen = [answer for name, answer in choices.items() if word and name.startswith(word)]
                if len(chosen) == 1:
                    return Answer(chosen[0], reason.strip().removeprefix("over").strip())
                self._out.write(f"  {line.strip() or 'nothing'!r} is none of {', '.join(choices)}\n")

    async def _line(self, prompt: str) -> str:
        """A line from stdin without a thread, so that an answer given elsewhere can end the wait. Empty: closed."""
        self._out.write(paint(prompt, "bold", stream=self._out))
        self._out.flush()
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ready.set)
        try:
            await ready.wait()
            return sys.stdin.readline()
        except asyncio.CancelledError:
            self._out.write("\n")
            raise
        finally:
            loop.remove_reader(sys.stdin.fileno())

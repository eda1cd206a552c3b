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
from quell.incident.action import Asks

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


def asks_of(request: Mapping[str, Any]) -> Asks:
    return Asks(request.get("asks", Asks.APPROVAL))


def needs_others(request: Mapping[str, Any]) -> Answer | None:
    """A no when more people must agree than one run has."""
    people = int(request.get("people") or 1)
    if people <= 1:
        return None
    return Answer("denied", f"it needs {people} people, and a run has one: use quell serve", HOUSE)


_SILENT = {
    Asks.APPROVAL: Answer("denied", by=HOUSE), Asks.STEP: Answer("failed", by=HOUSE),
    Asks.HAPPENED: Answer("withdrawn", by=HOUSE), Asks.REVERT: Answer("withdrawn", by=HOUSE),
}  # fmt: skip
"""What is answered where nobody can answer."""


class Nobody:
    """There is no terminal and no ``--approve``."""

    async def answer(self, request: Mapping[str, Any]) -> Answer:
        said, asks = "nobody can answer: there is no terminal", asks_of(request)
        return _SILENT[asks]._replace(reason=said + (" and no --approve" if asks is Asks.APPROVAL else ""))


class Agreed:
    """``--approve`` says yes to every action; it cannot do a manual step."""

    async def answer(self, request: Mapping[str, Any]) -> Answer:
        if (asks := asks_of(request)) is not Asks.APPROVAL:
            return _SILENT[asks]._replace(reason="only a person can, and nobody is there")
        return needs_others(request) or Answer("approved", "--approve")


_ACTION = {"approve": "approved", "deny": "denied", "take over": "taken"}
_SPOKEN = {"y": "approve", "yes": "approve", "n": "deny", "no": "deny"}
_STEP = {"done": "done", "failed": "failed", "take over": "taken"}
_HAPPENED = {"yes": "done", "no": "failed", "take over": "taken"}
_CHOICES = {Asks.APPROVAL: _ACTION, Asks.STEP: _STEP, Asks.HAPPENED: _HAPPENED, Asks.REVERT: _ACTION}


class Terminal:
    """Asks at the terminal: a letter or a word, then a reason if one is wanted."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, request: Mapping[str, Any]) -> Answer:
        if alone := needs_others(request):
            return alone
        asks = asks_of(request)
        choices = _CHOICES[asks]
        async with self._one_at_a_time:
            while True:
                line = await self._line("  ".join(f"[{word[0]}]{word[1:]}" for word in choices) + " ▸ ")
                if not line:
                    return _SILENT[asks]._replace(reason="the terminal was closed")
                word, _, reason = line.strip().partition(" ")
                word = _SPOKEN.get(word.lower(), word.lower()) if asks is Asks.APPROVAL else word.lower()
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

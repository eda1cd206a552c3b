"""Runs a program from an argument list, its output bounded and its secrets hidden; tells which script a list runs.

Never does: use a shell, pass on the process's own environment, leave a child behind.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from quell.errors import Permanent

MOST_BYTES = 65_536
_TAIL = 500
_INHERITED = ("PATH", "HOME", "LANG", "TZ")


@dataclass(frozen=True, slots=True)
class _Grammar:
    """Options of an interpreter that stand before its script: ``plain`` stand alone, ``valued`` take the next word."""

    plain: re.Pattern[str]
    valued: re.Pattern[str]


_NOTHING = re.compile(r"(?!)")
_PYTHON = _Grammar(re.compile(r"-(?:[bBdEiIOPqRsSuvx]+|[WX].+)"), re.compile(r"-[WX]"))
_SHELL = _Grammar(re.compile(r"[-+][abefhkmnptuvxBCEHPT]+|--(?:posix|norc|noprofile)"), re.compile(r"[-+][a-z]*[oO]"))
_OTHER = _Grammar(_NOTHING, _NOTHING)
_INTERPRETERS = (
    (re.compile(r"python[0-9.]*|pypy[0-9.]*"), _PYTHON),
    (re.compile(r"sh|bash|dash|ksh|zsh|ash"), _SHELL),
    (re.compile(r"(?:node|ruby|perl|php)[0-9.]*"), _OTHER),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended; texts are cut at ``MOST_BYTES``."""

    code: int
    stdout: str
    stderr: str
    cut: bool

    @property
    def how(self) -> str:
        """``ended with 3``, or ``was ended by SIGKILL``: then somebody or the kernel did not let it end by itself."""
        if self.code >= 0:
            return f"ended with {self.code}"
        try:
            return f"was ended by {signal.Signals(-self.code).name}"
        except ValueError:  # a real-time signal has no name of its own
            return f"was ended by signal {-self.code}"


async def run(argv: Sequence[str], env: Mapping[str, str], secrets: Mapping[str, str], cwd: str | None) -> Ended:
    """Raises ``Permanent`` (missing, denied) when it cannot be started. Cancelled, the whole process group ends."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**inherited, **env, **secrets}, cwd=cwd, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Permanent(f"no program or folder {error.filename or argv[0]!r}", "missing") from None
    except OSError as error:
        raise Permanent(f"cannot start {argv[0]!r}: {error.strerror}", "denied") from None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        out, err = await asyncio.gather(_read(process.stdout), _read(process.stderr))
        code = await process.wait()
    except BaseException as error:
        await asyncio.shield(_end(process))
        error.add_note(f"{argv[0]} was ended with its children after it was started")
        raise
    return Ended(code, _hide(out[0], secrets), _hide(err[0], secrets), out[1] or err[1])


async def _read(stream: asyncio.StreamReader) -> tuple[str, bool]:
    """The beginning of what it says, and whether there was more. Reads on to the end, so that it never blocks."""
    kept, total = bytearray(), 0
    while chunk := await stream.read(65_536):
        total += len(chunk)
        kept += chunk[: MOST_BYTES - len(kept)]
    return kept.decode("utf-8", "replace"), total > len(kept)


async def _end(process: asyncio.subprocess.Process) -> None:
    # The group is ours: it was made by start_new_session, and its leader has not been waited for yet.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _hide(text: str, secrets: Mapping[str, str]) -> str:
    for value in secrets.values():
        if value:
            text = text.replace(value, "•••")
    return text


def tail(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _TAIL else "…" + text[-_TAIL:]


def script_of(argv: Sequence[str], cwd: str | None) -> str:
    """What an argument list runs: the script behind an interpreter, else the program; however it is called.

    An option that is not known, code given inline or a program read from elsewhere leave the program alone, which is
    too wide rather than too narrow: the same script must never have two names.
    """
    name = os.path.basename(argv[0])
    grammar = next((found for pattern, found in _INTERPRETERS if pattern.fullmatch(name)), None)
    words = iter(argv[1:]) if grammar else iter(())
    for word in words:
        if grammar is None or grammar.valued.fullmatch(word):
            next(words, None)
        elif grammar is _PYTHON and word == "-m":
            return f"python -m {found}" if (found := next(words, "")) else argv[0]
        elif not word.startswith(("-", "+")):
            return os.path.normpath(os.path.join(cwd or "", word))
        elif not grammar.plain.fullmatch(word):
            break
    # A bare name is looked up on PATH; only one with a slash is a place.
    return os.path.normpath(os.path.join(cwd or "", argv[0])) if "/" in argv[0] else argv[0]

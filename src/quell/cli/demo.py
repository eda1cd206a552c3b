"""``quell demo``: a payment service on this machine, broken six ways, repaired by Quell while you watch.

No server, no account, no root; everything runs on loopback in one temporary folder that is removed at the end.
Never does: repair anything itself, judge more gently than the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from quell.cli.follower import Follower
from quell.cli.output import paint, print_json, print_table
from quell.demo.director import PACES, Director, faults
from quell.demo.score import RIGHT, Score
from quell.demo.site import RUNBOOKS
from quell.demo.world.faults import FAULTS
from quell.incident.event import Event
from quell.incident.parts import Approval
from quell.telling.lines import Row

INTERRUPTED = 130
ANSWER_WITHIN_S = 45.0
REMOVED_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    faults: tuple[str, ...]
    pace: str
    json: Path | None
    stay: bool


def demo(
    fault: Annotated[
        list[str] | None, typer.Option(help=f"Only this fault; may be given again. One of: {', '.join(FAULTS)}.")
    ] = None,
    pace: Annotated[str, typer.Option(help="slow: time to read. fast: scrape every 0.25 s, no pauses.")] = "slow",
    json: Annotated[
        Path | None, typer.Option(help="Write the figures there: a list, one object per fault. '-' is stdout.")
    ] = None,
    stay: Annotated[bool, typer.Option(help="Keep everything running at the end, for the page.")] = False,
) -> None:
    """Watch six real faults being noticed, diagnosed, repaired and verified.

    A payment service (three replicas, its own ledger, release directories), its users and its monitoring run as real
    processes. Faults are really injected; Quell hears of them from its own webhook and repairs them with the runbooks
    in examples/demo. Ends with 0 only if every fault was repaired by the right remediation and the users are back.

    Examples:

      quell demo

      quell demo --fault bad_deploy_slow --pace fast

      quell demo --json figures.json

      quell demo --stay
    """
    chosen = tuple(fault or faults())
    unknown = [name for name in chosen if name not in FAULTS]
    if unknown:
        raise typer.BadParameter(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}", param_hint="--fault")
    if pace not in PACES:
        raise typer.BadParameter(f"no pace {pace!r}; there are {', '.join(PACES)}", param_hint="--pace")
    raise typer.Exit(asyncio.run(Show(Options(chosen, pace, json, stay)).run()))


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is gone afterwards. What ends meanwhile may still write there, and removes its own part as well."""
    folder = Path(tempfile.mkdtemp(prefix="quell-demo-"))
    try:
        yield folder
    finally:
        deadline = time.monotonic() + REMOVED_WITHIN_S
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=time.monotonic() < deadline)
            time.sleep(0.02)


class Show:
    """The demo as it is told on the terminal. What is told goes to stderr when stdout is wanted for JSON."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.out = sys.stderr if options.json == Path("-") else sys.stdout
        self._follower: Follower | None = None
        self._incident: str | None = None

    async def run(self) -> int:
        """The exit code."""
        # The timeline tells what happens; the server's own log would only interrupt it.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        pace = PACES[self.options.pace]
        with _scratch() as folder:
            async with Director(folder, pace, self._ask) as director:
                director.listeners.append(self._heard)
                self._introduce(director)
                play = asyncio.create_task(self._play(director))
                await asyncio.wait({play, director.serving}, return_when=asyncio.FIRST_COMPLETED)
                if not play.done():
                    play.cancel()
                    await asyncio.gather(play, return_exceptions=True)
                    self._say("", "stopped; cleaning up")
                    return INTERRUPTED
                scores = play.result()
                self._conclude(director, scores)
                if self.options.stay:
                    self._say("", f"Staying: {director.address}  (Ctrl-C ends it)")
                    await director.serving
        return 0 if all(score.repaired for score in scores) else 1

    async def _play(self, director: Director) -> list[Score]:
        scores = []
        for number, name in enumerate(self.options.faults, start=1):
            told = FAULTS[name]
            self._say("", paint(f"{number}/{len(self.options.faults)}  {told.title}", "bold", stream=self.out))
            self._say(told.describe)
            self._follower, self._incident = Follower(self.out), None
            scores.append(await director.play(name))
            self._verdict(director, scores[-1])
            last = number == len(self.options.faults)
            if not last or self.options.stay:  # else all of it goes in a moment
                await director.clean_up()
            if not last:
                await asyncio.sleep(director.pace.pause)
        return scores

    def _say(self, *lines: str) -> None:
        for line in lines:
            self.out.write(line + "\n")
        self.out.flush()

    def _introduce(self, director: Director) -> None:
        self._say(
            paint("Quell demo", "bold", stream=self.out),
            "A payment service with three replicas, its users and its monitoring run on this machine.",
            f"Runbooks: {_near(RUNBOOKS)}",
        )
        for plan in director.app.library.plans.values():
            self._say(f"  {plan.id}: {len(list(plan.checks))} checks side by side, then")
            self._say(*(f"    {one.when or 'otherwise'} → {', '.join(one.then)}" for one in plan.decisions))
        self._say(f"Page:     {director.address}")

    def _heard(self, told: Sequence[Event]) -> None:
        """The incident of the fault that is on, live."""
        for event in told:
            if self._incident is None and event.kind.value == "incident.opened":
                self._incident = event.stream_id
            if self._follower is not None and event.stream_id == self._incident:
                self._follower.feed([event])

    async def _ask(self, approval: Approval) -> tuple[str, str]:
        """The user at a terminal; otherwise the demo approves by itself, and says so."""
        assert self._follower is not None
        if not (sys.stdin.isatty() and self.out.isatty()):
            self._follower.say(Row("no terminal: approved by the demo", "approve", "✓", "green"))
            return "approved", "demo"
        said = await self._line(f"  Approve? [Y/n]  (in {ANSWER_WITHIN_S:g} s the demo does) ")
        if said is None:
            self._follower.say(Row("no answer: approved by the demo", "approve", "✓", "green"))
            return "approved", "demo"
        return ("denied" if said.strip().lower().startswith("n") else "approved"), "you"

    async def _line(self, prompt: str) -> str | None:
        """A line from the terminal without a thread, so that nothing is left waiting; None when none came in time."""
        self._say_now(prompt)
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ready.set)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await ready.wait()
            return sys.stdin.readline()
        except TimeoutError:
            self._say("")
            return None
        finally:
            loop.remove_reader(sys.stdin.fileno())

    def _say_now(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def _verdict(self, director: Director, score: Score) -> None:
        users = " → ".join(_percent(value) for value in (score.users.before, score.users.during, score.users.after))
        if score.repaired:
            mark, style, said = "✓", "green", f"repaired in {score.mttr_s:.1f} s by {' → '.join(score.actions)}"
        else:
            expected = " → ".join(RIGHT[score.fault])
            did = " → ".join(score.actions) or "nothing"
            mark, style, said = "✗", "red", f"{score.outcome}: did {did}, {expected} was right"
        self._say(paint(f"  {mark} {said}; users' success {users}", style, stream=self.out))
        if score.incident:
            self._say(f"    {director.address}/incidents/{score.incident}")

    def _conclude(self, director: Director, scores: Sequence[Score]) -> None:
        if self.options.json is not None:
            document = [_record(score) for score in scores]
            print_json(document, to=None if self.options.json == Path("-") else self.options.json)
        self._say("")
        if self.out is sys.stdout:
            print_table(COLUMNS, [_line(score) for score in scores])
        spent = [score.mttr_s for score in scores if score.mttr_s is not None]
        if spent:
            self._say(f"Median from injection to verified: {statistics.median(spent):.1f} s. Page: {director.address}")
        if not self.options.stay:
            self._say("Everything is removed now; `quell demo --stay` keeps the page.")


COLUMNS = ("fault", "detect", "diagnose", "decide", "act", "verify", "total s", "users before, during, after")


def _line(score: Score) -> list[str]:
    """Waiting for a person counts into the total only."""
    spent = (score.detect_s, score.diagnose_s, score.decide_s, score.act_s, score.verify_s, score.mttr_s)
    users = (score.users.before, score.users.during, score.users.after)
    seen = " → ".join("-" if one is None else f"{one * 100:.1f}" for one in users) + " %"
    return [score.fault, *("-" if one is None else f"{one:.2f}" for one in spent), seen]


def _record(score: Score) -> dict[str, Any]:
    return {**asdict(score), "repaired": score.repaired}


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f} %"


def _near(path: Path) -> Path:
    """Relative to where the user is, when it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path

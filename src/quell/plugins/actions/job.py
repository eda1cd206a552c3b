"""Starts a job of another system over HTTP, follows it to its end, and cancels it when this action is cancelled.

```yaml
action: {type: job, config: {job: 'rundeck:fence-pg', params: {host: db-1}, find: '/jobs?key={key}'}}
postcondition: {check: succeeded, within: 10m}   # settles also a job whose answer got lost
connections: {rundeck: {type: http, url: 'https://jobs.example.org', password: env:JOBS_TOKEN}}
```

POST ``start`` with ``{"job": …, "params": …}`` and an ``Idempotency-Key`` gives a Location (or an ``id``); GET there
tells ``status`` until it is one of the ends; POST ``<location>/cancel`` cancels. ``Retry-After`` is honoured.
The facts are read with GET where the job was started, or with ``find`` by the key: else they are missing.
Never does: send credentials to another host than the connection's, start a second job to learn about the first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeGuard
from urllib.parse import quote

import httpx
import orjson
from pydantic import Field, model_validator

from quell.errors import Permanent, Transient
from quell.plugins.actions import _http
from quell.plugins.actions._fields import Seconds
from quell.ports import Connection, Connects, Effect, FactSpec, Missing, Preview, Probe, Reading, Risk
from quell.ports import Params as PortParams

RISK = Risk.HIGH
IDEMPOTENT = False  # the key is sent, but not every system reads it
ALIASES = ("run_job",)
FACTS: dict[str, FactSpec] = {
    "started": "bool", "ended": "bool", "succeeded": "bool", "state": "string", "result": "any", "error": "string",
}  # fmt: skip
_LOST_POLLS, _LONGEST_WAIT_S, _SHORTEST_WAIT_S, _CANCEL_WITHIN_S = 10, 30.0, 0.05, 10.0
_MOST_OUTPUT = 8_192
_MOST_REMEMBERED = 1_000
_started_at: OrderedDict[tuple[str, str], str] = OrderedDict()
"""Where the last jobs of this process were started, by connection and key; after a restart only ``find`` knows."""


class Params(PortParams):
    """``job``: ``connection:name``, or the name alone beside ``connection``. ``poll``: when the other names no time."""

    job: Annotated[str, Connects(("http",), unless=("connection",), before=":")] = Field(min_length=1, max_length=500)
    connection: Annotated[str | None, Connects(("http",), default=False)] = None
    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Sent to the job."""
    start: str = Field(default="/jobs", pattern=r"^/")
    """The path that starts a job."""
    find: str | None = Field(default=None, pattern=r"^/[^{}]*\{key\}[^{}]*$")
    """The path that answers with the job of an idempotency key, `{key}`; a list counts when it names the key."""
    poll: Seconds = 1.0
    status_field: str = "status"
    """The field of the answer that tells how far it is."""
    succeeded: tuple[str, ...] = ("succeeded", "success", "successful", "completed", "done")
    """States that mean it went well."""
    failed: tuple[str, ...] = ("failed", "failure", "error", "aborted", "timedout")
    """States that mean it did not."""
    cancelled: tuple[str, ...] = ("cancelled", "canceled")
    """States that mean somebody stopped it."""
    undo_job: str | None = None
    """The job that takes this one back."""
    undo_params: dict[str, Any] = Field(default_factory=dict)
    """Sent to the undo; by default what the job got."""

    @model_validator(mode="after")
    def _some_name(self) -> Self:
        if not self.name:
            raise ValueError("the job has no name")
        return self

    @property
    def name(self) -> str:
        return self.job if self.connection or ":" not in self.job else self.job.partition(":")[2]

    @property
    def place(self) -> str | None:
        return self.connection or (self.job.partition(":")[0] if ":" in self.job else None)


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Asks nobody: what a job would do is its own business."""
    connection = probe.connection(params.place, "http")
    given = orjson.dumps(params.params).decode()
    return Preview(
        call=f"start job {params.name} on {connection.name} with {given if len(given) <= 500 else given[:499] + '…'}",
        targets=(f"{connection.name}/{params.name}",),
        after="as the job does it",
        undo=f"start job {params.undo_job} on {connection.name}" if params.undo_job else None,
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """The job's result. Raises ``Permanent``: failed with its words, cancelled, lost when its end is unknown."""
    return await _Run(params, probe, params.name, params.params, probe.key).to_its_end()


async def undo(params: Params, effect: Effect, probe: Probe) -> Effect:
    """Runs ``undo_job`` to its end. Raises ``Permanent`` (refused) without one."""
    if not params.undo_job:
        raise Permanent(f"job {params.name} has no undo_job, so it cannot be undone", "refused")
    name = params.undo_job if params.connection else params.undo_job.removeprefix(f"{params.place}:")
    return await _Run(params, probe, name, params.undo_params or params.params, f"{probe.key}/undo").to_its_end()


async def observe(params: Params, probe: Probe) -> Reading:
    """How the job of this execution stands, asked and never started. Missing where nobody can be asked."""
    run = _Run(params, probe, params.name, params.params, probe.key)
    state = await run.found()
    if isinstance(state, Missing):
        return Reading({}, missing=dict.fromkeys(FACTS, state), summary=state.reason, observed_at=probe.now())
    facts, missing = run.facts(state), {}
    for name in FACTS:
        if name not in facts:
            missing[name] = Missing(f"the job is {facts.get('state', 'not started')}")
    summary = f"job {params.name} on {run.connection.name}: {facts.get('state', 'not started')}"
    return Reading(facts, missing=missing, summary=summary, observed_at=probe.now())


class _Run:
    """One job from start to end."""

    def __init__(self, params: Params, probe: Probe, name: str, given: dict[str, Any], key: str) -> None:
        self.params, self.probe, self.name, self.given, self.key = params, probe, name, given, key
        self.connection: Connection = probe.connection(params.place, "http")
        self.location = ""

    async def to_its_end(self) -> Effect:
        starting = asyncio.ensure_future(self._start())
        try:
            state, wait = await asyncio.shield(starting)
            while self._status(state) not in self._ends:
                await asyncio.sleep(wait)
                state, wait = await self._look()
        except asyncio.CancelledError as error:
            error.add_note(await self._call_off(starting))
            raise
        return self._effect(state)

    @property
    def _ends(self) -> tuple[str, ...]:
        return (*self.params.succeeded, *self.params.failed, *self.params.cancelled)

    def _status(self, state: Mapping[str, Any]) -> str:
        return str(state.get(self.params.status_field, "")).lower()

    async def _start(self) -> tuple[dict[str, Any], float]:
        url = self.connection.url.rstrip("/") + self.params.start.replace("{job}", quote(self.name, safe=""))
        body = orjson.dumps({"job": self.name, "params": self.given}, option=orjson.OPT_SORT_KEYS)
        headers = {"idempotency-key": self.key}
        answer = _http.check(
            self.connection,
            await _http.ask(self.probe, self.connection, "POST", url, body, headers),
            self.probe.now(),
        )
        try:
            state = self._read(answer)
        except Transient:
            if "location" not in answer.headers:
                raise
            state = {}  # it was started, and where to look is known: the next look tells
        self.location = self._place_of(answer, state, url)
        _started_at[self.connection.name, self.key] = self.location
        while len(_started_at) > _MOST_REMEMBERED:
            _started_at.popitem(last=False)
        return state, self._wait(answer)

    def _place_of(self, answer: httpx.Response, state: dict[str, Any], url: str) -> str:
        said = answer.headers.get("location") or (f"{url}/{quote(str(state['id']), safe='')}" if "id" in state else "")
        if not said:
            raise Permanent(f"{self.connection.name}: started {self.name}, but it gave neither Location nor id", "lost")
        place = httpx.URL(url).join(said)
        own = httpx.URL(url)
        if (place.scheme, place.host, place.port) != (own.scheme, own.host, own.port):
            raise Permanent(
                f"{self.connection.name}: started {self.name}, but its Location is on another host", "denied"
            )
        return str(place)

    async def _look(self) -> tuple[dict[str, Any], float]:
        """The state now. A look that fails says nothing about the job: a bounded number of them are looked past."""
        last = ""
        for _ in range(_LOST_POLLS):
            try:
                answer = await _http.ask(self.probe, self.connection, "GET", self.location)
                return self._read(_http.check(self.connection, answer, self.probe.now())), self._wait(answer)
            except Transient as error:
                last = str(error)
                pause = self.params.poll if error.retry_after is None else error.retry_after
                await asyncio.sleep(min(max(pause, _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
        raise Permanent(f"{self._title} was started and its end is not known: {last}", "lost")

    async def found(self) -> dict[str, Any] | Missing | None:
        """The job's state now; None when the other side knows none of this key."""
        self.location = _started_at.get((self.connection.name, self.key), "")
        if self.location:
            answer = await _http.ask(self.probe, self.connection, "GET", self.location)
            if answer.status_code == httpx.codes.NOT_FOUND:
                return Missing(f"{self.connection.name} does not know {self._title} any more")
            return self._read(_http.check(self.connection, answer, self.probe.now()))
        if self.params.find is None:
            return Missing("where it was started is not known, and find does not say how to ask by its key")
        path = self.params.find.replace("{key}", quote(self.key, safe=""))
        answer = await _http.ask(self.probe, self.connection, "GET", self.connection.url.rstrip("/") + path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return self._of_key(_http.check(self.connection, answer, self.probe.now()))

    def _of_key(self, answer: httpx.Response) -> dict[str, Any] | Missing | None:
        """Of a list only what names the key: a server that does not know the question may answer with every job."""
        try:
            said = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise Transient(f"{self.connection.name}: the answer is not JSON", "lost") from None
        if isinstance(said, dict) and self.params.status_field in said:
            return said
        jobs = next((value for value in said.values() if isinstance(value, list)), said) if _is_map(said) else said
        if not isinstance(jobs, list):
            raise Permanent(f"{self.connection.name}: the answer is neither a job nor a list of jobs", "invalid")
        own = [one for one in jobs if _is_map(one) and self.key in one.values()]
        if len(own) == 1:
            return dict(own[0])
        return Missing(f"{len(own)} of {len(jobs)} jobs in the answer name the key") if jobs else None

    def facts(self, state: Mapping[str, Any] | None) -> dict[str, Any]:
        if state is None:
            return {"started": False, "ended": False, "succeeded": False}
        status = self._status(state)
        well = status in self.params.succeeded
        facts = {"started": True, "ended": status in self._ends, "succeeded": well, "state": status}
        if well:
            return {**facts, "result": _kept(state.get("result"))}
        return {**facts, "error": _words(state)} if facts["ended"] else facts

    def _wait(self, answer: httpx.Response) -> float:
        said = _http.retry_after(answer, self.probe.now())
        return min(max(self.params.poll if said is None else said, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            state = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise Transient(f"{self.connection.name}: the answer is not JSON", "lost") from None
        if not isinstance(state, dict):
            raise Permanent(f"{self.connection.name}: the answer is not an object", "invalid")
        return state

    @property
    def _title(self) -> str:
        number = self.location.rpartition("/")[2]
        return f"job {self.name} ({number}) on {self.connection.name}" if number else f"job {self.name}"

    def _effect(self, state: dict[str, Any]) -> Effect:
        status = self._status(state)
        if status in self.params.failed:
            raise Permanent(f"{self._title} failed: {_words(state)}", "failed")
        if status in self.params.cancelled:
            raise Permanent(f"{self._title} was cancelled by somebody", "cancelled")
        undo = {"job": self.params.undo_job} if self.params.undo_job else None
        return Effect(summary=f"{self._title} {status}", output={**self.facts(state), "job": self.location}, undo=undo)

    async def _call_off(self, starting: asyncio.Future[Any]) -> str:
        """What is known after being cancelled. A start on its way is waited for: it may have an effect to call off."""
        try:
            async with asyncio.timeout(_CANCEL_WITHIN_S):
                await starting
                answer = await _http.ask(self.probe, self.connection, "POST", f"{self.location}/cancel")
                if answer.status_code == httpx.codes.CONFLICT:
                    return f"cancelled too late: {self._title} had ended"
                _http.check(self.connection, answer, self.probe.now())
        except (Transient, Permanent, TimeoutError) as error:
            started = (
                f"{self._title} was started and may still run" if self.location else f"{self._title} may have started"
            )
            return f"cancelled; {started}: {str(error) or 'no answer in time'}"
        return f"cancelled; {self._title} was asked to stop"


def _is_map(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def _kept(result: Any) -> Any:
    text = orjson.dumps(result)
    return result if len(text) <= _MOST_OUTPUT else text[:_MOST_OUTPUT].decode("utf-8", "replace") + "…"


def _words(state: Mapping[str, Any]) -> str:
    error = state.get("error") or state.get("message") or state.get("result") or "it said nothing"
    if isinstance(error, dict):
        error = error.get("message") or orjson.dumps(error).decode()
    return " ".join(str(error)[:5000].split())[:500]

"""A request that is sent twice has its effect once: its key is committed with the effect, in one transaction.

Whoever repeats it finds what the first came to. When the first died before it could answer, the repeat goes on from
there: ``_commit`` of the app gives it the result that the first had committed, and the rest of the use case makes the
answer anew. Two at once in two processes end the same way: the second waits for the first's transaction.
Never does: have an effect of its own, decide what is answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from pydantic import TypeAdapter

from quell.errors import Conflict, InvalidInput, Problem
from quell.incident.pause import Pause
from quell.incident.silence import Silence
from quell.respond.change import Change
from quell.respond.means import Context
from quell.store import requests
from quell.store.database import Database
from quell.store.events import dumps
from quell.store.requests import Answer, Kept

__all__ = ["Answer", "Kept", "Keyed", "Once", "asked"]

T = TypeVar("T")
FORGET_EVERY_S = 600.0
MOST_TOLD = 100
"""How many events of an effect are remembered: a storm in one webhook appends thousands."""
AGAIN_S = 1.0
_RESULTS: dict[str, TypeAdapter[Any]] = {
    "context": TypeAdapter(Context), "pause": TypeAdapter(Pause), "pauses": TypeAdapter(list[Pause]),
    "silence": TypeAdapter(Silence), "plain": TypeAdapter(Any),
}  # fmt: skip
"""What a use case's transaction may result in, as JSON and back."""


@dataclass(slots=True)
class Keyed:
    """One that carries a key. ``effect`` is what it, or one like it before, has committed; None before that."""

    tenant: str
    key: str
    fingerprint: str
    effect: dict[str, Any] | None = None
    recalled: bool = False
    """The effect was another one's."""
    carried_out: bool = False

    def carry_out(self, change: Change, work: Callable[[Change], T]) -> T:
        """``work``, unless a request with this key has been carried out: then the result that that one had.

        Inside the transaction. Raises ``InvalidInput`` when it was another request, ``Conflict`` when this one was
        refused a moment ago.
        """
        assert not self.carried_out, "a use case is one transaction: what a second one did would not be known"
        connection, now = change.connection, change.means.database.now_us(change.connection)
        if self.effect is None and requests.claim(connection, self.tenant, self.key, self.fingerprint, now):
            result = work(change)
            effect = _effect(change, result)
            requests.led_to(connection, self.tenant, self.key, effect)
            self.effect = orjson.loads(effect)
        else:
            result = self._recalled(connection, now)
        self.carried_out = True
        return result

    def _recalled(self, connection: sa.Connection, now_us: int) -> Any:
        if self.effect is None:
            kept = requests.find(connection, self.tenant, self.key, now_us)
            if kept is None or not self.is_like(kept.fingerprint) or kept.effect is None:
                raise under_way()
            self.recall(kept.effect)
        assert self.effect is not None
        return _RESULTS[self.effect["is"]].validate_python(self.effect["result"])

    def recall(self, effect: str) -> None:
        """Another one's effect is this one's."""
        self.effect, self.recalled = orjson.loads(effect), True

    def is_like(self, fingerprint: str) -> bool:
        """Raises ``InvalidInput`` when the key stands for another request."""
        if fingerprint == self.fingerprint:
            return True
        problem = Problem(
            "this key was sent with another request", "key-reused", path="header.idempotency-key", found=self.key[:80],
            expected="a new key for each request, the same only for the very same one sent again",
        )  # fmt: skip
        raise InvalidInput([problem])


def under_way() -> Conflict:
    """What whoever repeats a request too early is told."""
    return Conflict("a request with this key is under way; send it again in a moment", retry_after=AGAIN_S)


def _effect(change: Change, result: object) -> str:
    match result:
        case Context():
            kind = "context"
        case Pause():
            kind = "pause"
        case [Pause(), *_]:
            kind = "pauses"
        case Silence():
            kind = "silence"
        case _:
            kind = "plain"
    told = [
        {"stream": event.stream.value, "id": event.stream_id, "seq": event.seq, "kind": event.kind.value}
        for event in change.told[:MOST_TOLD]
    ]
    return dumps({"is": kind, "result": _RESULTS[kind].dump_python(result, mode="json"), "told": told})


_ASKED: ContextVar[Keyed | None] = ContextVar("quell_request", default=None)


def asked() -> Keyed | None:
    """The request with a key on whose behalf this is called. Whatever goes on in the background has none."""
    return _ASKED.get()


class Once:
    """What a site remembers of requests with a key."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database, self._tenant = database, tenant

    def request(self, key: str, fingerprint: str) -> Keyed:
        return Keyed(self._tenant, key, fingerprint)

    @contextlib.contextmanager
    def behalf(self, request: Keyed) -> Iterator[None]:
        """Inside, the app's next transaction is this request's."""
        token = _ASKED.set(request)
        try:
            yield
        finally:
            _ASKED.reset(token)

    async def look(self, request: Keyed) -> Answer | None:
        """The answer that was kept. Raises ``InvalidInput`` when the key stands for another request."""
        kept = await self._database.read(
            lambda c: requests.find(c, request.tenant, request.key, self._database.now_us(c))
        )
        if kept is None:
            return None
        request.is_like(kept.fingerprint)
        if kept.answer is None and kept.effect is not None:
            request.recall(kept.effect)
        return kept.answer

    async def keep(self, request: Keyed, answer: Answer) -> None:
        """For whoever repeats it. Of a request without effect only when nothing is known under its key."""

        def work(connection: sa.Connection) -> None:
            now = self._database.now_us(connection)
            mine = request.effect is not None
            if mine or requests.claim(connection, request.tenant, request.key, request.fingerprint, now):
                requests.answered(connection, request.tenant, request.key, answer)

        await self._database.write(work)

    async def forget(self) -> None:
        """Take away what is too old."""
        while await self._database.write(lambda c: requests.forget(c, self._database.now_us(c))) == requests.AT_ONCE:
            pass

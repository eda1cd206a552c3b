"""Forms that a person fills in: held against the bodies of the API, carried out once however often somebody clicks, and
shown again as they were typed when something is wrong with them.

Pause, resume and reset are committed with a key, as a request that carries one (``once``): a second click has no second
effect, whichever process it comes to. A second click on what is no transaction of the app's, a new token or pruning,
gets the answer of the first in this process, for a moment. Never does: act, hold a rule.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from quell.errors import InvalidInput, Problem, QuellError
from quell.web.answers import body_of, status_of, wants_page
from quell.web.api import app_of
from quell.web.pages import BY, keep, not_forged, page_of
from quell.web.reading import caller_of, form_body, spoken_by

T = TypeVar("T")
REMEMBERED_S = 30.0
"""So long a second click is taken for one; a page that is loaded anew has a form of its own."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A form that was not carried out. ``do`` says which one, ``of`` which of several that do the same."""

    do: str
    of: str
    typed: Mapping[str, str]
    error: QuellError

    def at(self, do: str, of: str = "") -> bool:
        return (self.do, self.of) == (do, of)

    @property
    def status(self) -> int:
        return status_of(self.error)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.error.problems if isinstance(self.error, InvalidInput) else ()

    @property
    def fields(self) -> set[str]:
        """The fields that something is wrong with."""
        return {problem.path.partition(".")[0] for problem in self.problems if problem.path}

    @property
    def said(self) -> str:
        """The error in a sentence, where it is not one of many problems."""
        return str(body_of(self.error)["error"])


class Sent:
    """What the forms of a moment ago came to. What failed is forgotten at once: it may be sent again."""

    def __init__(self, remembered_s: float = REMEMBERED_S) -> None:
        self._remembered_s = remembered_s
        self._known: dict[str, asyncio.Task[Any]] = {}

    async def once(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """The result of ``act``, which runs once for all who name it alike; whoever goes away does not end it."""

        async def run() -> T:
            return await act()

        if (task := self._known.get(name)) is None:
            task = self._known[name] = asyncio.create_task(run())
            task.add_done_callback(lambda ended: self._ended(name, ended))
        result: T = await asyncio.shield(task)
        return result

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._known[name]
        else:
            task.get_loop().call_later(self._remembered_s, self._known.pop, name)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True, slots=True)
class Form:
    """A form that came from a page of ours. ``by``: in whose name."""

    typed: Mapping[str, str]
    by: str

    @property
    def do(self) -> str:
        return self.typed.get("do", "")

    @property
    def of(self) -> str:
        return self.typed.get("of", "")

    def text(self, name: str) -> str:
        return self.typed.get(name, "").strip()


async def sent_form(request: Request) -> Form:
    """Raises ``Refused`` when it is not from a page of ours."""
    typed = await form_body(request)
    not_forged(request, typed)
    return Form(typed, spoken_by(request, typed.get("by")))


async def carried_out(request: Request, form: Form, act: Callable[[], Awaitable[T]]) -> T | Wrong:
    """What ``act`` comes to, once for a form. Programs get the error itself, as everywhere."""
    app, name = app_of(request), _name_of(request, form)
    sent: Sent = request.app.state.sent

    async def on_its_behalf() -> T:
        with app.once.behalf(app.once.request(name, name)):
            return await act()

    try:
        return await sent.once(name, on_its_behalf)
    except QuellError as error:
        if not wants_page(request.scope):
            raise
        return Wrong(form.do, form.of, form.typed, error)


def _name_of(request: Request, form: Form) -> str:
    """The same for a second click, and for nothing else: also what is corrected after an error is another form."""
    caller = caller_of(request)
    typed = {**form.typed, "once": form.text("once") or secrets.token_urlsafe(), "csrf": ""}
    digest = hashlib.sha256(repr((request.url.path, caller.token, caller.name, sorted(typed.items()))).encode())
    return f"form:{digest.hexdigest()}"


def form_page(request: Request, template: str, wrong: Wrong | None, **values: Any) -> Response:
    """A page with forms; with the one that is ``wrong`` as it was typed, and why."""
    status = wrong.status if wrong else 200
    return page_of(request, template, status=status, wrong=wrong, once=secrets.token_urlsafe(9), **values)


def done(request: Request, form: Form, address: str) -> Response:
    """On to the page that shows it; loading that one again sends nothing twice."""
    return named(request, form, RedirectResponse(address, 303))


def named(request: Request, form: Form, response: Response) -> Response:
    """The answer, which also remembers the name that was typed, for the next form."""
    keep(request, response, BY, quote(form.by))  # a cookie holds no letters beyond Latin-1
    return response

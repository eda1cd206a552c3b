"""The HTTP API of a running server, as the commands use it: JSON in and out, its errors made ours again.

A command's POST carries a key of its own, so that it may be sent again when the connection breaks: it has its effect
once. Never does: print an answer, send a POST again under another key.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Annotated, Any, Self
from urllib.parse import quote, urlsplit

import httpx
import orjson
import typer

from quell import local
from quell.cli.answer import user_name
from quell.errors import Conflict, InvalidInput, Problem, QuellError, Refused, Unavailable
from quell.incident.event import Event
from quell.settings import DEFAULT_PORT

SERVER_VARIABLE, TOKEN_VARIABLE = "QUELL_SERVER", "QUELL_TOKEN"
DEFAULT_SERVER = f"http://127.0.0.1:{DEFAULT_PORT}"
TIMEOUT_S = 15.0
AGAIN_S = 0.2
"""How long a broken connection rests before it is tried again."""
HEARTBEAT_WITHIN_S = 45.0
"""A stream says that it is alive three times in this time."""

Server = Annotated[
    str | None, typer.Option("--server", metavar="URL", help=f"Default: ${SERVER_VARIABLE} or {DEFAULT_SERVER}.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
By = Annotated[str | None, typer.Option("--by", help="Your name. Default: $QUELL_USER or the login name.")]


class Missing(QuellError):
    """The server does not know what was asked for."""


class Client:
    """One server. Use it in a ``with``. ``by``: in whose name."""

    def __init__(self, server: str | None, *, by: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.address, key = _with_key(_address(server or os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER))
        self.by = user_name(by)
        headers = {"accept": "application/json"}
        if self.by.isascii() and self.by.isprintable():
            headers["x-quell-user"] = self.by
        here = urlsplit(self.address).hostname in (*local.LOOPBACK, "localhost")
        if token := os.environ.get(TOKEN_VARIABLE) or key:
            headers["authorization"] = f"Bearer {token}"
        self._within_s = timeout_s
        # To whom no TLS is spoken, the list of those we trust need not be read: it takes 30 ms.
        plain = here and self.address.startswith("http:")
        self._http = httpx.Client(
            base_url=self.address, headers=headers, timeout=timeout_s, trust_env=not here, verify=not plain
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Raises ``Unavailable``, ``Missing``, ``Refused``, ``InvalidInput``."""
        asked = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", path, params=asked)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Raises the same, and ``Conflict`` when somebody was faster. Sent again when the connection breaks."""
        key = {"idempotency-key": f'"{secrets.token_hex(16)}"'}
        return self._ask("POST", path, content=orjson.dumps(body or {}), headers=key)

    def say(self, path: str, reason: str = "") -> Any:
        """A person's word on something."""
        return self.post(path, {"by": self.by, "reason": reason})

    def timeline(self, incident: str, after: int = 0) -> list[Event]:
        answer = self.get(f"/api/v1/incidents/{name_of(incident)}/timeline", after=after)
        return [Event.model_validate(one) for one in answer["events"]]

    def events(self, incident: str, after: int = 0) -> Iterator[Event]:
        """The incident's events as they happen, without end; goes on by itself when the connection breaks.

        Raises ``Unavailable`` when the server does not come back at once.
        """
        path = f"/api/v1/incidents/{name_of(incident)}/events"
        while True:
            try:
                with self._http.stream(
                    "GET", path, params={"after": after}, timeout=httpx.Timeout(TIMEOUT_S, read=HEARTBEAT_WITHIN_S)
                ) as answer:
                    if answer.status_code != httpx.codes.OK:
                        answer.read()
                        raise self._error(answer)
                    for line in answer.iter_lines():
                        if line.startswith("data:"):
                            event = Event.model_validate_json(line.removeprefix("data:"))
                            after = event.seq
                            yield event
            except httpx.ConnectError as error:
                raise self._away(error) from None
            except (httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout):
                continue
            return  # the server ended the stream: it stops

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._sent(method, path, **more)
        except httpx.TimeoutException:
            raise Unavailable(f"{self.address} did not answer in time") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._away(error) from None
        if paused := answer.headers.get("x-quell-paused"):
            print(f"quell: paused: {paused} (quell pauses)", file=sys.stderr)
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise self._error(answer)
        return self._read(answer)

    def _sent(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Again, in time, when the connection broke, or when the server still works at what was sent before.

        A server that cannot be reached in the first place has been sent nothing: that is told at once.
        """
        until, sent = time.monotonic() + self._within_s, False
        while True:
            try:
                answer = self._http.request(method, path, **more)
                rest_s = _under_way(answer)
                if rest_s is None or time.monotonic() + rest_s > until:
                    return answer
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                if (isinstance(error, httpx.ConnectError) and not sent) or time.monotonic() + AGAIN_S > until:
                    raise
                rest_s = AGAIN_S
            sent = True
            time.sleep(rest_s)

    def _read(self, answer: httpx.Response) -> Any:
        try:
            return orjson.loads(answer.content or b"{}")
        except orjson.JSONDecodeError:
            raise QuellError(f"{self.address} answered {answer.status_code} without JSON: is it Quell?") from None

    def _away(self, error: Exception) -> Unavailable:
        reason = str(error).strip() or type(error).__name__
        return Unavailable(f"no server at {self.address} ({reason}); start one with: quell serve")

    def _error(self, answer: httpx.Response) -> QuellError:
        """The error that the server's answer stands for."""
        body = self._read(answer)
        body = body if isinstance(body, dict) else {}
        said = str(body.get("error") or f"{self.address} answered {answer.status_code}")
        status = answer.status_code
        if status == httpx.codes.UNAUTHORIZED:
            return Refused("token", f"{self.address} wants a token: set {TOKEN_VARIABLE} (quell token create)")
        if status == httpx.codes.NOT_FOUND:
            return Missing(_with_nearest(said, body))
        if status == httpx.codes.CONFLICT:
            winner = body.get("winner")
            return Conflict(said if not winner or winner in said else f"{said} ({winner})", winner=winner)
        if body.get("problems"):
            return InvalidInput([_problem(one) for one in body["problems"]])
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return Unavailable(said)
        return Refused(str(body.get("rule") or "server"), said)


def _under_way(answer: httpx.Response) -> float | None:
    """How long the server asks to wait for what was sent before under the same key; None when it asks for nothing."""
    after = answer.headers.get("retry-after", "")
    return float(after) if answer.status_code == httpx.codes.CONFLICT and after.isdigit() else None


def _address(text: str) -> str:
    """Raises ``InvalidInput`` for what is no address."""
    address = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        sound = False
    if sound:
        return address.rstrip("/")
    wrong = "not the address of a server"
    raise InvalidInput([Problem(wrong, "wrong-value", "--server", found=repr(text), expected=f"as {DEFAULT_SERVER}")])


def _with_key(address: str) -> tuple[str, str]:
    """The key of this machine's own server. ``localhost`` then is the very address that the key is for: on the other
    one somebody else may listen."""
    for exact in ("127.0.0.1", "[::1]"):
        named = (
            address.replace("//localhost", f"//{exact}", 1) if urlsplit(address).hostname == "localhost" else address
        )
        if key := local.read(named):
            return named, key
    return address, ""


def name_of(given: str) -> str:
    """An id as a part of a path."""
    return quote(given.strip(), safe="")


def _with_nearest(said: str, body: Mapping[str, Any]) -> str:
    name = f" {body['runbookId']!r}" if body.get("runbookId") else ""
    nearest = body.get("nearest")
    hint = f"; did you mean {nearest!r}?" if nearest and repr(nearest) not in said else ""
    return f"{said}{name}{hint}"


def _problem(told: Mapping[str, Any]) -> Problem:
    known = {name: value for name, value in told.items() if name in Problem.__dataclass_fields__}
    return Problem(**{"message": "the server refused it", **known})

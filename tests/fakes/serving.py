"""The socket under every fake: an HTTP/1.1 server on a free loopback port, with a record and faults.

A fake is a context manager. It keeps every request it was sent (`requests`), and a test can make it
misbehave (`inject`): refuse with a status, answer late, cut the connection, answer garbage. Each fault
says whether the request is carried out first, because "it happened, and the answer was lost" is the
case that clients get wrong.

It never imports the product, and never listens on anything but 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it came off the wire. Header names are lower case; `at` is Unix seconds."""

    number: int
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The body as JSON; raises ValueError (UnicodeDecodeError is one) when it is not."""
        return json.loads(self.body)

    def arg(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Reply:
    """What to answer. With `chunks` the body is streamed (chunked coding) until they end."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Iterable[bytes] | None = None

    @classmethod
    def of(cls, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """A JSON answer."""
        return cls(status, json.dumps(document).encode(), "application/json", headers or {})

    @classmethod
    def text(cls, words: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """A plain text answer."""
        return cls(status, words.encode(), "text/plain; charset=utf-8", headers or {})


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, for the next `times` requests that match (0: until cleared).

    `acts`: the request is carried out before the fault strikes, so the effect exists.
    """

    kind: str
    times: int = 1
    method: str | None = None
    path: str = ""
    acts: bool = False
    status: int = 500
    retry_after: int | str | None = None
    body: bytes | None = None
    seconds: float = 0.0

    @classmethod
    def refuse(cls, status: int, *, retry_after: int | str | None = None, **rest: Any) -> Fault:
        """Answer `status`, in the words that this service uses for it."""
        return cls("refuse", status=status, retry_after=retry_after, **rest)

    @classmethod
    def slow(cls, seconds: float, **rest: Any) -> Fault:
        """Answer correctly, `seconds` late."""
        return cls("slow", seconds=seconds, **rest)

    @classmethod
    def cut(cls, *, midway: bool = False, **rest: Any) -> Fault:
        """Close the connection without an answer, or in the middle of one."""
        return cls("cut_midway" if midway else "cut", **rest)

    @classmethod
    def malformed(cls, body: bytes = b'{"status": "succ', **rest: Any) -> Fault:
        """Carry the request out, and answer success with a body that cannot be read."""
        return cls("malformed", body=body, **{"acts": True, **rest})

    def matches(self, request: Request) -> bool:
        """Whether this request is hit: same method, and the path found by the pattern."""
        return self.method in (None, request.method) and re.search(self.path, request.path) is not None


class FakeServer:
    """Base of the fakes: override `answer`, and `refusal` for the service's own error bodies."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.errors: list[BaseException | None] = []
        self._faults: list[list[Any]] = []
        self._changed = threading.Condition(threading.RLock())
        self._stopping = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    # -- what a fake overrides

    def answer(self, request: Request) -> Reply:
        """Carry the request out and say what to answer."""
        raise NotImplementedError

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """The answer to an injected refusal."""
        return Reply.text(f"injected {fault.status}", fault.status)

    # -- life

    def __enter__(self) -> Self:
        self._server = _server_for(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()
        with self._changed:
            left = list(self._sockets)
        for connection in left:
            _hang_up(connection)
        self._server.server_close()
        # A fault of the fake itself must not pass for a fault of the network.
        assert not self.errors, f"the fake failed: {self.errors!r}"

    @property
    def port(self) -> int:
        """The loopback port; only while the fake runs."""
        assert self._server is not None, "the fake is not running"
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where clients reach it, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    # -- control for tests

    def inject(self, *faults: Fault) -> None:
        """Queue faults; the first that matches a request is used, then those behind it."""
        with self._changed:
            self._faults.extend([fault, fault.times] for fault in faults)

    def clear(self) -> None:
        """Forget all faults and recorded requests; what the requests did stays."""
        with self._changed:
            self._faults.clear()
            self.requests.clear()

    def wait_for(self, done: Callable[[], object], deadline_s: float = 10.0) -> None:
        """Poll `done` until it holds; raises AssertionError after `deadline_s` seconds."""
        end = time.monotonic() + deadline_s
        while not done():
            assert not self.errors, f"the fake failed: {self.errors!r}"
            if time.monotonic() > end:
                raise AssertionError(f"not reached in {deadline_s} s; {len(self.requests)} requests came")
            time.sleep(0.005)

    # -- one request

    def _record(self, handler: BaseHTTPRequestHandler, body: bytes) -> Request:
        parts = urlsplit(handler.path)
        with self._changed:
            request = Request(
                number=len(self.requests) + 1,
                method=handler.command,
                path=unquote(parts.path),
                query=parse_qs(parts.query, keep_blank_values=True),
                headers={name.lower(): value for name, value in handler.headers.items()},
                body=body,
                at=time.time(),
            )
            self.requests.append(request)
            return request

    def _fault_for(self, request: Request) -> Fault | None:
        with self._changed:
            for entry in self._faults:
                fault: Fault = entry[0]
                if fault.matches(request):
                    entry[1] -= 1
                    if entry[1] == 0:
                        self._faults.remove(entry)
                    return fault
        return None

    def _decide(self, request: Request) -> tuple[Reply | None, bool]:
        """The reply, and whether to cut the connection midway; no reply means cut at once."""
        fault = self._fault_for(request)
        if fault is None:
            return self.answer(request), False
        if fault.kind == "slow":
            if not fault.acts:
                self._stopping.wait(fault.seconds)
                return self.answer(request), False
            reply = self.answer(request)
            self._stopping.wait(fault.seconds)
            return reply, False
        reply = self.answer(request) if fault.acts else Reply.of({"partial": "x" * 512})
        if fault.kind == "cut":
            return None, False
        if fault.kind == "cut_midway":
            return reply, True
        if fault.kind == "malformed":
            return Reply(reply.status if fault.acts else 200, fault.body or b""), False
        refused = self.refusal(request, fault) if fault.body is None else Reply(fault.status, fault.body)
        if fault.retry_after is not None:
            extra = {**refused.headers, "Retry-After": str(fault.retry_after)}
            refused = Reply(refused.status, refused.body, refused.content_type, extra)
        return refused, False


def _server_for(fake: FakeServer) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with fake._changed:
                fake._sockets.add(self.connection)

        def finish(self) -> None:
            with fake._changed:
                fake._sockets.discard(self.connection)
            super().finish()

        def serve(self) -> None:
            request = fake._record(self, _read_body(self))
            reply, midway = fake._decide(request)
            if reply is None:
                self.close_connection = True
                _hang_up(self.connection)
                return
            _send(self, reply, midway)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read `requests`; standard error stays quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is what tests do on purpose; anything else must be seen."""
            error = sys.exception()
            if not isinstance(error, OSError):
                fake.errors.append(error)
                super().handle_error(request, client_address)

    return Server(("127.0.0.1", 0), Handler)


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", "").lower():
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass
    return body


def _send(handler: BaseHTTPRequestHandler, reply: Reply, midway: bool) -> None:
    handler.send_response(reply.status)
    if reply.content_type:
        handler.send_header("Content-Type", reply.content_type)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    if reply.chunks is not None:
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        _send_chunks(handler, iter(reply.chunks))
        return
    handler.send_header("Content-Length", str(len(reply.body)))
    # One write for head and body: end_headers would send the head alone.
    head = b"".join([*handler._headers_buffer, b"\r\n"])  # type: ignore[attr-defined]
    handler._headers_buffer = []  # type: ignore[attr-defined]
    body = b"" if handler.command == "HEAD" else reply.body
    if midway:
        handler.wfile.write(head + body[: len(body) // 2])
        handler.close_connection = True
        _hang_up(handler.connection)
        return
    handler.wfile.write(head + body)


def _send_chunks(handler: BaseHTTPRequestHandler, chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RDWR)

"""HTTP/1.1 over loopback, structured log lines, and the lifeline: what every process of the world shares.

The standard library's own HTTP modules cost 60 ms of start per process, and ten processes start at once here.
Never listens on or connects to anything but 127.0.0.1; never serves a request larger than `LARGEST`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

HOST = "127.0.0.1"
LARGEST = 1 << 20
REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}


class Request:
    """What arrived: ``query`` holds the last value of each name, percent-decoded."""

    __slots__ = ("body", "method", "path", "query")

    def __init__(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.query, self.body = method, path, query, body


class Answer:
    """What goes back. A body of several pieces is streamed, and the connection closed after it."""

    __slots__ = ("body", "kind", "status")

    def __init__(self, status: int, body: bytes | Iterator[bytes] = b"", kind: str = "application/json") -> None:
        self.status, self.body, self.kind = status, body, kind


def answer_json(status: int, value: object) -> Answer:
    """`value` as a JSON body."""
    return Answer(status, json.dumps(value).encode())


def decode(text: str) -> str:
    """Undo percent-encoding and ``+``; a broken escape is left as it is."""
    pieces = text.replace("+", " ").encode().split(b"%")
    whole = pieces[0]
    for piece in pieces[1:]:
        try:
            whole += bytes([int(piece[:2], 16)]) + piece[2:]
        except ValueError:
            whole += b"%" + piece
    return whole.decode("utf-8", "replace")


def parse_form(text: str) -> dict[str, str]:
    """A query string or an urlencoded form."""
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return {decode(name): decode(value) for name, _, value in pairs}


def _receive(connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes, bytes] | None:
    """One message as (head, body, what follows it); None when the other side has gone."""
    while b"\r\n\r\n" not in buffer:
        piece = connection.recv(65536)
        if not piece or len(buffer) > LARGEST:
            return None
        buffer += piece
    head, _, rest = buffer.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            length = int(line[15:])
    if length > LARGEST:
        return None
    while len(rest) < length:
        piece = connection.recv(65536)
        if not piece:
            return None
        rest += piece
    return head, rest[:length], rest[length:]


class Server:
    """A thread per connection, keep-alive, and a graceful end.

    ``OSError`` from the constructor when the port is taken.
    """

    def __init__(self, port: int, handler: Callable[[Request], Answer]) -> None:
        self._handler = handler
        self._listener = socket.create_server((HOST, port), backlog=128)
        self._closing = False
        self._idle: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self._changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        # It hung up, or speaks something that is not HTTP: either way the talk is over.
        with connection, suppress(OSError, ValueError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                buffer: bytes | None = b""
                while buffer is not None:
                    with self._changed:
                        self._idle.add(connection)
                    buffer = self._exchange(connection, buffer)
            finally:
                with self._changed:  # before it is closed: whoever drains asks the open ones
                    self._idle.discard(connection)
                    self._changed.notify_all()

    def _exchange(self, connection: socket.socket, buffer: bytes) -> bytes | None:
        message = _receive(connection, buffer)
        if message is None:
            return None
        head, body, rest = message
        with self._changed:
            self._idle.discard(connection)
            self._busy.add(connection)
        try:
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            path, _, query = target.partition("?")
            keep = self._send(connection, self._handler(Request(method, path, parse_form(query), body)))
        finally:
            with self._changed:
                self._busy.discard(connection)
                self._changed.notify_all()
        return rest if keep else None

    def _send(self, connection: socket.socket, answer: Answer) -> bool:
        streamed = not isinstance(answer.body, bytes)
        keep = not (streamed or self._closing)
        head = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Error')}\r\nContent-Type: {answer.kind}\r\n"
        head += "" if keep else "Connection: close\r\n"
        if isinstance(answer.body, bytes):
            head += f"Content-Length: {len(answer.body)}\r\n\r\n"
            connection.sendall(head.encode() + answer.body)
            return keep
        connection.sendall((head + "\r\n").encode())
        for piece in answer.body:
            connection.sendall(piece)
        return False

    def drain(self, seconds: float) -> None:
        """Take no new work, finish what is under way, at most for `seconds`."""
        self._closing = True
        with suppress(OSError):  # not every kernel lets a listener be shut down; closing it is enough there
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            asked = set(select.select(self._idle, [], [], 0)[0]) if self._idle else set()
            for connection in self._idle:
                with suppress(OSError):  # a request that has arrived is still answered; the others see the end now
                    connection.shutdown(socket.SHUT_RD if connection in asked else socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._busy and not asked & self._idle, seconds)


class Unconnected(OSError):
    """Nobody listens there: nothing was sent, so asking somebody else is safe."""


class Client:
    """One keep-alive connection to a loopback port; not for several threads at once."""

    def __init__(self, port: int, timeout: float) -> None:
        self.port, self._timeout = port, timeout
        self._connection: socket.socket | None = None

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body. `Unconnected` when nobody listens, another ``OSError`` when the talk broke off."""
        connection = self._connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nContent-Type: application/json\r\n"
        try:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            message = _receive(connection, b"")
            if message is None:
                raise ConnectionResetError("hung up before an answer")
        except OSError:
            self.close()
            raise
        answer_head, answer, _ = message
        if b"connection: close" in answer_head.lower():
            self.close()
        return int(answer_head.split(b" ", 2)[1]), answer

    def _connect(self) -> socket.socket:
        if self._connection is not None and select.select([self._connection], [], [], 0)[0]:
            self.close()  # readable while nothing is asked: the other side has closed it
        if self._connection is None:
            try:
                self._connection = socket.create_connection((HOST, self.port), self._timeout)
            except OSError as error:
                raise Unconnected(str(error)) from error
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def close(self) -> None:
        """Hang up; the next question connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def stamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC with milliseconds; now when `seconds` (unix) is not given."""
    seconds = time.time() if seconds is None else seconds
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


class Log:
    """JSON lines appended to one file; several processes may share it, because one line is one write."""

    def __init__(self, path: str, **fixed: object) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._fixed = fixed

    def line(self, level: str, event: str, **fields: object) -> None:
        """Write one line; never raises for a folder that has gone."""
        record = {"time": stamp(), "level": level, "event": event, **self._fixed, **fields}
        os.write(self._file, json.dumps(record).encode() + b"\n")


def hold_lifeline(at_end: Callable[[], object] | None = None) -> None:
    """Exit when the process that started us is gone, however it went: its end of our stdin then closes.

    A death signal (``PR_SET_PDEATHSIG``) would do the same on Linux only, and fires when a *thread* ends.
    """

    def wait() -> None:
        while os.read(0, 1):
            continue
        if at_end is not None:
            at_end()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def wait_for_term() -> None:
    """Block the main thread until SIGTERM; Ctrl-C in the terminal is the owner's business, not ours."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()


def read_config(path: str) -> dict[str, object]:
    """A JSON object from a file; ``ValueError`` naming the file when it is anything else."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: an object is needed")
    return value


def die(message: str, code: int = 1) -> None:
    """Say why on stderr and exit."""
    sys.stderr.write(message + "\n")
    sys.exit(code)

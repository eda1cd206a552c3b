"""Systems that repeat whatever they are sent, in every spelling they know: over HTTP, PostgreSQL's and Redis' protocol.

Never keeps a secret; `heard` is all that was sent to each, so that a test can tell who was told what.
"""

from __future__ import annotations

import base64
import html
import json
import socket
import socketserver
import struct
import threading
from typing import Any, Self
from urllib.parse import quote, quote_plus, urlencode

from tests.fakes.serving import FakeServer, Reply, Request

REFUSES = {"/prom": 400, "/loki": 400, "/services": 403, "/v2": 400, "/hook": 410, "/kube": 403, "/RPC2": 500}
"""The beginning of a path → the status that is answered there; 200 elsewhere."""


def repeated(text: str) -> str:
    """A text, and the same as others would write it: escaped, encoded, wrapped, cut off."""
    data = text.encode()
    coded = base64.b64encode(data).decode()
    wrapped = "\n".join(coded[at : at + 19] for at in range(0, len(coded), 19))
    halves = f"{text[: len(text) // 2]}\n{text[len(text) // 2 :]}"
    return "\n".join(
        [text, quote(text, safe=""), quote_plus(text), json.dumps(text), html.escape(text), repr(text), coded, wrapped,
         base64.urlsafe_b64encode(data).decode(), data.hex(), halves]
    )  # fmt: skip


class Parrot(FakeServer):
    """Answers every request with its own address, headers and body; a login is taken apart first."""

    def answer(self, request: Request) -> Reply:
        status = next((code for path, code in REFUSES.items() if request.path.startswith(path)), 200)
        said = self._said(request)
        if request.path.startswith("/prom"):
            return Reply.of({"status": "error", "errorType": "bad_data", "error": said}, status)
        if request.path.startswith("/kube"):
            return Reply.of({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": said}, status)
        if request.path.startswith("/v2"):
            return Reply.of({"status": "invalid event", "message": said, "errors": [said]}, status)
        return Reply.text(said, status, {"X-Said": quote(request.headers.get("authorization", ""))})

    def _said(self, request: Request) -> str:
        parts = [f"no: {request.method} {request.path}?{urlencode(request.query, doseq=True)}"]
        parts += [value for values in request.query.values() for value in values]
        for name, value in request.headers.items():
            scheme, _, rest = value.partition(" ")
            login = base64.b64decode(rest).decode() if scheme == "Basic" else rest
            parts += [f"{name}: {value}"] + ([login, *login.split(":", 1)] if name == "authorization" else [])
        return "\n".join([*map(repeated, parts), request.body.decode(errors="replace")])


class Gossip(socketserver.ThreadingTCPServer):
    """Refuses every login, with its user's name and password: a PostgreSQL, or else a Redis."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.heard: list[bytes] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none."""


_SSL, _GSS = 80877103, 80877104


class _Talk(socketserver.BaseRequestHandler):
    request: socket.socket
    server: Gossip

    def handle(self) -> None:
        first = self.request.recv(65_536)
        self.server.heard.append(first)
        if first[:1] == b"*":
            self._redis(first)
        elif first:
            self._postgres(first)

    def _redis(self, sent: bytes) -> None:
        while sent:
            words = " ".join(sent.decode(errors="replace").split())
            self.request.sendall(b"-WRONGPASS " + words.encode() + b"\r\n" * sent.count(b"*"))
            sent = self.request.recv(65_536)
            self.server.heard.append(sent)

    def _postgres(self, sent: bytes) -> None:
        """https://www.postgresql.org/docs/current/protocol-flow.html: asks for the password, and says it aloud."""
        while len(sent) >= 8 and struct.unpack("!I", sent[4:8])[0] in (_SSL, _GSS):
            self.request.sendall(b"N")
            sent = self.request.recv(65_536)
        self.request.sendall(b"R" + struct.pack("!II", 8, 3))
        password = self.request.recv(65_536)
        self.server.heard.append(password)
        login = f"{sent[8:].decode(errors='replace')} {password[5:].decode(errors='replace')}".replace("\0", " ")
        words = f"password authentication failed for {login}, which is {repeated(password[5:].strip(bytes(1)).decode(errors='replace'))}"
        fields = b"".join(kind + text.encode() + b"\0" for kind, text in [(b"S", "FATAL"), (b"V", "FATAL"),
                                                                        (b"C", "28P01"), (b"M", words)])  # fmt: skip
        self.request.sendall(b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0")

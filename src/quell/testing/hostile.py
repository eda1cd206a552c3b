"""Servers that nobody wants: one that never answers, one that repeats what it was sent, a port where nobody listens.

They listen on 127.0.0.1, on free ports. Never does: speak a protocol well.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_MOST = 256 * 1024
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


class Listener:
    """What happened at a server: how many came, how many are still connected, and all that they sent."""

    def __init__(self) -> None:
        self.port = 0
        self.came = 0
        self.open = 0
        self.heard: list[bytes] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[bytes]:
        """The HTTP requests that came, whole."""
        return [sent for sent in self.heard if _is_http(sent)]


Answer = Callable[[Listener, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _listening(answer: Answer) -> AsyncIterator[Listener]:
    listener = Listener()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.came += 1
        listener.open += 1
        try:
            await answer(listener, reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            listener.open -= 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


@asynccontextmanager
async def black_hole() -> AsyncIterator[Listener]:
    """Accepts every connection, reads, and never says a word."""

    async def swallow(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while sent := await reader.read(65_536):
            listener.heard.append(sent)

    async with _listening(swallow) as listener:
        yield listener


@asynccontextmanager
async def parrot(status: int) -> AsyncIterator[Listener]:
    """Repeats whatever it is sent: as the body of an HTTP answer with this status, else as it came."""

    async def repeat(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while sent := await _request(reader):
            listener.heard.append(sent)
            head = f"HTTP/1.1 {status} Said\r\nContent-Type: text/plain\r\nContent-Length: {len(sent)}\r\n\r\n".encode()
            writer.write(head + sent if _is_http(sent) else sent)
            await writer.drain()

    async with _listening(repeat) as listener:
        yield listener


async def _request(reader: asyncio.StreamReader) -> bytes:
    """One HTTP request whole, or what came in one piece."""
    sent = await reader.read(65_536)
    while _is_http(sent) and len(sent) < _MOST and not _is_whole(sent):
        more = await reader.read(65_536)
        if not more:
            break
        sent += more
    return sent


def _is_http(sent: bytes) -> bool:
    return b" HTTP/1." in sent.split(b"\r\n", 1)[0]


def _is_whole(sent: bytes) -> bool:
    head, end, body = sent.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head)
    if b"chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= (int(length[1]) if length else 0)


@asynccontextmanager
async def nobody() -> AsyncIterator[Listener]:
    """A port that is taken and not listened on: who comes is refused, and nobody else gets it meanwhile."""
    listener = Listener()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        listener.port = held.getsockname()[1]
        yield listener

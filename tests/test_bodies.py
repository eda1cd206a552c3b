"""Answers over a real socket that are longer than anybody wants to read."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from quell import bodies

pytestmark = pytest.mark.anyio
LIMIT = 10_000


@asynccontextmanager
async def serving(head: str, body: bytes, *, endless: bool = False) -> AsyncIterator[str]:
    """The address of a server with one answer; an endless one goes on until it is hung up on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)
            while endless:
                await writer.drain()
                writer.write(b"more of the same " * 1000)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def asked(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(20):
        return await bodies.request(client, "GET", url, limit=LIMIT)


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
async def test_what_fits_comes_whole(size: int) -> None:
    async with serving(f"content-length: {size}\r\nx-kept: yes\r\n", b"a" * size) as url:
        answer = await asked(url)
        assert (answer.content, answer.headers["x-kept"], answer.status_code) == (b"a" * size, "yes", 200)
        assert str(answer.request.url) == url


async def test_one_byte_more_is_cut() -> None:
    async with serving(f"content-length: {LIMIT + 1}\r\n", b"a" * (LIMIT + 1)) as url:
        assert len((await asked(url)).content) == LIMIT


async def test_what_never_ends_ends() -> None:
    async with serving("", b"", endless=True) as url:
        assert len((await asked(url)).content) == LIMIT


async def test_what_unpacks_without_end_ends() -> None:
    packed = gzip.compress(b"\0" * 20_000_000)
    async with serving(f"content-encoding: gzip\r\ncontent-length: {len(packed)}\r\n", packed) as url:
        assert (await asked(url)).content == b"\0" * LIMIT
    packed = gzip.compress("ä".encode())
    async with serving(f"content-encoding: gzip\r\ncontent-length: {len(packed)}\r\n", packed) as url:
        assert (await asked(url)).text == "ä"

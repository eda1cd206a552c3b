"""Reads the body of an HTTP answer up to a limit, decoded: a small compressed one that unpacks without end stops too.

Never does: know who is asked, turn a failure into one of ours.
"""

from __future__ import annotations

from typing import Any

import httpx

_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})


async def read_within(response: httpx.Response, limit: int) -> tuple[bytes, bool]:
    """At most ``limit`` bytes, and whether there was more."""
    parts, size = list[bytes](), 0
    async for part in response.aiter_bytes():
        parts.append(part[: limit - size])
        size += len(part)
        if size > limit:
            return b"".join(parts), True
    return b"".join(parts), False


async def request(client: httpx.AsyncClient, method: str, url: str, *, limit: int, **more: Any) -> httpx.Response:
    """As the client's own ``request``; of the body no more than ``limit`` bytes. Raises what the client raises."""
    async with client.stream(method, url, **more) as response:
        body, _ = await read_within(response, limit)
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_WIRE]
        return httpx.Response(response.status_code, headers=headers, content=body, request=response.request)


__all__ = ["read_within", "request"]

"""The short way answers as the long way does, and what is no plain webhook goes the long way."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from quell.web.hot import Hot, source_of
from tests.web.house import House


def scope(path: str, method: str = "POST", kind: str = "http", **headers: str) -> dict[str, Any]:
    return {
        "type": kind, "method": method, "path": path,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "source"),
    [
        (scope("/webhooks/alertmanager"), "alertmanager"),
        (scope("/webhooks/alertmanager", "GET"), None),
        (scope("/webhooks/"), None),
        (scope("/webhooks/a/b"), None),
        (scope("/api/v1/alerts"), None),
        (scope("/webhooks/alertmanager", idempotency_key='"k"'), None),
        ({"type": "lifespan"}, None),
    ],
)
def test_what_goes_the_short_way(given: dict[str, Any], source: str | None) -> None:
    assert source_of(given) == source


BODIES = [
    b"{not json", b"[]", b'{"version": "4", "alerts": 3}', b"", b"\xff\xfe",
    json.dumps({"version": "4", "alerts": [{"status": "firing", "labels": "none"}]}).encode(),
    json.dumps({"version": "4", "alerts": []}).encode(),
]  # fmt: skip


def said(answer: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    own = ("date", "server", "idempotency-key", "content-length")
    return answer.status_code, answer.json(), {k: v for k, v in answer.headers.items() if k not in own}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("source", ["alertmanager", "alertmanger", "grafana"])
def test_it_is_answered_as_on_the_long_way(house: House, body: bytes, source: str) -> None:
    at = f"/webhooks/{source}"
    short = house.http.post(at, content=body)
    key = {"idempotency-key": f'"{source}-{len(body)}-{body[:9].hex()}"'}
    assert said(short) == said(house.http.post(at, content=body, headers=key))


@pytest.mark.anyio
async def test_a_sender_who_has_gone_is_told_nothing() -> None:
    told = list[Any]()

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message)

    async def further(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it went the long way")

    nobody: Any = None
    await Hot(further, hub=nobody)(scope("/webhooks/alertmanager"), gone, send)
    assert told == []


def test_another_method_is_refused(house: House) -> None:
    assert house.http.get("/webhooks/alertmanager").status_code == 405

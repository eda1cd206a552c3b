"""A house that asks everybody who they are, as a server comes; its ``http`` is whoever runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx

from quell import local
from quell.incident.access import Role
from tests.web.house import House


class Secured(House):
    """``with Secured(folder, insecure=False) as house``: the key of this machine in ``key``."""

    key = ""

    def __enter__(self) -> Secured:
        super().__enter__()
        self.key = local.read(self.url)
        self.http.headers["authorization"] = f"Bearer {self.key}"
        return self

    def token(self, name: str, role: Role, **more: Any) -> str:
        body = {"name": name, "role": role.value, "by": "root", **more}
        answer = self.http.post("/api/v1/tokens", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["text"])

    def as_(self, text: str, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {text}", **headers}, timeout=30)

    @contextlib.contextmanager
    def browser(self, text: str) -> Iterator[httpx.Client]:
        """Signed in, without any header."""
        with httpx.Client(base_url=self.url, timeout=30) as browser:
            assert browser.post("/sign-in", data={"token": text}).status_code == 303
            yield browser

"""Stands before a server of SNS that leaves something out, and adds it on the way, as Amazon's own endpoint has it.

What is published is delivered here and passed on under the same path: with the headers that SNS sends (`heads`), and with
`change`, which leads the certificate's address here, since neither is signed. What is asked here, a certificate or a
confirmation, the server behind answers. A test that forges, or signs in the server's place, sets another `change`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import httpx

from tests.fakes.serving import Reply, Request
from tests.fakes.sns import PEM, Document, FakeSns, confirmation, headers, signed

Behind = Callable[[str, Mapping[str, Sequence[str]]], httpx.Response]
"""What the server behind answers to a GET: path, query."""


class SnsEdge(FakeSns):
    """`passed` holds each message as it was passed on, `answers` what whoever got it answered."""

    def __init__(self, behind: Behind, to: str) -> None:
        """`to`: scheme and host of those who have subscribed."""
        super().__init__()
        self._behind, self._to = behind, to
        self.heads: Callable[[Document], dict[str, str]] = headers
        self.change: Callable[[Document], Document] = self.led_here
        self.passed: list[Document] = []
        self.answers: list[httpx.Response] = []

    def led_here(self, message: Document) -> Document:
        """The certificate's address is ours; it stays the one that the server made."""
        return {**message, "SigningCertURL": self.url + httpx.URL(message["SigningCertURL"]).path}

    def signed_here(self, message: Document) -> Document:
        """By our own key, all that SNS signs."""
        return signed({**message, "SigningCertURL": self.url + PEM})

    def confirm(self, topic: str, path: str) -> httpx.Response:
        """Ask whoever is subscribed under that path whether it wants this topic."""
        return self._post(path, confirmation(TopicArn=topic, origin=self.url), {})

    def answer(self, request: Request) -> Reply:
        if request.method == "POST":
            credentials = {name: value for name, value in request.headers.items() if name == "authorization"}
            told = self._post(request.path, self.change(request.json()), credentials)
        elif request.path in self.certificates:
            return super().answer(request)
        else:
            told = self._behind(request.path, request.query)
        return Reply(told.status_code, told.content, told.headers["content-type"])

    def _post(self, path: str, message: Document, more: Mapping[str, str]) -> httpx.Response:
        given = {**self.heads(message), **more}
        told = httpx.post(self._to + path, content=json.dumps(message), headers=given, timeout=30)
        self.passed.append(message)
        self.answers.append(told)
        return told

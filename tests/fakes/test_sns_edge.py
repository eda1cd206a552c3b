"""The edge before a server of SNS: what it adds to a delivery, what it leaves alone, and whom it asks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import httpx
import pytest

from tests.fakes.serving import Reply
from tests.fakes.sink import FakeSink
from tests.fakes.sns import AMAZON, PEM, TOPIC, FakeSns, notification, rsa_key, signed, string_to_sign
from tests.fakes.sns_edge import SnsEdge

THEIRS = PEM.replace("0a1b", "ffff")


@pytest.fixture
def behind() -> Iterator[FakeSns]:
    with FakeSns() as sns:
        sns.certificates = {THEIRS: b"theirs"}
        yield sns


@pytest.fixture
def subscriber() -> Iterator[FakeSink]:
    with FakeSink() as sink:
        yield sink


@pytest.fixture
def edge(behind: FakeSns, subscriber: FakeSink) -> Iterator[SnsEdge]:
    def asked(path: str, query: Mapping[str, Sequence[str]]) -> httpx.Response:
        return httpx.get(behind.url + path, params={name: list(values) for name, values in query.items()})

    with SnsEdge(asked, subscriber.url) as sns:
        yield sns


def test_a_delivery_goes_on_with_the_headers_and_a_certificate_that_is_found_here(
    edge: SnsEdge, subscriber: FakeSink
) -> None:
    message = notification(key=rsa_key(1), SigningCertURL=AMAZON + THEIRS)
    subscriber.reply = Reply.text("no", 401)
    answer = httpx.post(edge.url + "/hook", json=message, auth=("sns", "word"))
    (request,) = subscriber.received
    assert (answer.status_code, answer.text, edge.answers[0].status_code) == (401, "no", 401)
    assert (request.path, request.headers["x-amz-sns-message-type"]) == ("/hook", "Notification")
    assert request.headers["authorization"].startswith("Basic ")
    assert request.json() == {**message, "SigningCertURL": edge.url + THEIRS} == edge.passed[0]
    assert httpx.get(request.json()["SigningCertURL"]).content == b"theirs"


def test_it_signs_and_forges_when_it_is_told_to(edge: SnsEdge, subscriber: FakeSink) -> None:
    edge.change, edge.heads = edge.signed_here, lambda message: {}
    message = notification(key=rsa_key(1))
    httpx.post(edge.url + "/hook", json=message)
    (request,) = subscriber.received
    assert "x-amz-sns-message-type" not in request.headers
    assert request.json() == signed({**message, "SigningCertURL": edge.url + PEM})
    assert string_to_sign(request.json()) == string_to_sign(message)
    assert httpx.get(edge.url + PEM).content == edge.certificates[PEM]


def test_a_confirmation_is_asked_for_and_taken_behind_it(edge: SnsEdge, subscriber: FakeSink, behind: FakeSns) -> None:
    assert edge.confirm(TOPIC, "/hook").text == "ok"
    asked = json.loads(subscriber.received[0].body)
    assert httpx.get(asked["SubscribeURL"]).is_success
    assert behind.confirmed == [(TOPIC, asked["Token"])]
    assert httpx.get(edge.url + "/other.pem").status_code == 404

"""One HTTP call to a connection: what is sent, what counts as done, and what nobody can know."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import MAY_HAVE_HAPPENED, Permanent, Transient
from quell.plugins.actions import http_request
from quell.plugins.actions.http_request import Params
from quell.ports import Connection, Effect, Preview
from quell.runbook.places import url_places
from quell.runbook.template import fill
from tests.fakes.serving import Fault, Reply
from tests.fakes.sink import FakeSink
from tests.plugins.world import probe_over
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio
SECRET = "t0ken/s3cret"
KEY = "run/hit/1/gateway"


def gateway(url: str, **more: Any) -> Connection:
    return Connection(
        name="gateway", type="http", url=url, **{"headers": {"Authorization": f"Bearer {SECRET}"}, **more}
    )


async def run(connection: Connection, **written: Any) -> Effect:
    async with probe_over(connection, key=KEY) as probe:
        return await http_request.execute(params(**written), probe)


async def preview(connection: Connection, **written: Any) -> Preview:
    async with probe_over(connection, key=KEY) as probe:
        return await http_request.dry_run(params(**written), probe)


def params(**written: Any) -> Params:
    return Params.model_validate({"connection": "gateway", "path": "/hit", **written})


async def test_the_call_is_made_once_with_key_body_and_credentials(tmp_path: Path) -> None:
    with FakeSink(tmp_path / "effects") as fake:
        fake.reply = Reply.of({"accepted": True}, 202)
        effect = await run(gateway(f"{fake.url}/api/"), body={"uid": "a b"}, headers={"X-Reason": "alert"})
        (request,) = fake.requests
    assert (request.method, request.path, request.json()) == ("POST", "/api/hit", {"uid": "a b"})
    assert request.headers["idempotency-key"] == KEY
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-reason"] == "alert"
    assert effect.summary == "POST /hit on gateway: 202"
    assert effect.output == {"status": 202, "answer": {"accepted": True}}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_and_no_body(method: str) -> None:
    with FakeSink() as fake:
        fake.reply = Reply(204)
        effect = await run(gateway(fake.url), method=method)
        (request,) = fake.requests
    assert (request.method, request.body) == (method, b"")
    assert "content-type" not in request.headers
    assert effect.output == {"status": 204, "answer": None}


@pytest.mark.parametrize("sign", ["a/b", "a?b", "a#b", "a b", "a%2Fb", "a&b=c", "ä@:[]", "../admin", "a\\b"])
async def test_what_a_template_puts_into_the_path_stays_one_part(sign: str) -> None:
    written = {"connection": "gateway", "path": "/hit/${uid}?why=${uid}"}
    filled = fill(written, {"uid": sign}, is_url=url_places(Params, written))
    with FakeSink() as fake:
        await run(gateway(fake.url), path=filled.value["path"])
        (request,) = fake.requests
    assert filled.value["path"].count("/") == 2
    assert request.path == f"/hit/{sign}"
    assert dict(request.query) == {"why": [sign]}


def test_a_template_does_not_climb() -> None:
    written = {"connection": "gateway", "path": "/hit/${uid}/now"}
    filled = fill(written, {"uid": ".."}, is_url=url_places(Params, written))
    with pytest.raises(ValidationError, match="no part"):
        Params.model_validate(filled.value)


@pytest.mark.parametrize(
    "path", ["hit", "", "http://elsewhere/hit", "/a/../b", "/a/%2E%2e", "/..?a", "/a#b", "/a b", "/a\nb", "/a\\b"]
)
def test_a_path_stays_behind_the_host(path: str) -> None:
    with pytest.raises(ValidationError, match="a path"):
        params(path=path)


def test_get_is_refused() -> None:
    with pytest.raises(ValidationError, match="'POST', 'PUT', 'PATCH' or 'DELETE'"):
        params(method="GET")


def test_headers_hold_no_credentials_and_all_mistakes_are_told_without_values() -> None:
    with pytest.raises(ValidationError) as caught:
        params(headers={"Authorization": "x", "Cookie": "y", "Host": "z", "a b": "c", "X-A": "b\r\nc: d"})
    (error,) = caught.value.errors()
    for part in ("authorization is the conn", "cookie is the conn", "host is not a", "'a b' is no", "x-a has a value"):
        assert part in error["msg"]


@pytest.mark.parametrize("status", [500, 199, "5xx", "4xx", 429, 408, True, "ok", []])
def test_statuses_that_cannot_be_expected(status: Any) -> None:
    with pytest.raises(ValidationError, match="not a status that can be expected"):
        params(expect_status=status)


@pytest.mark.parametrize(("expected", "status"), [(409, 409), ([200, 404], 404), ("2xx", 201), (["2xx", 303], 303)])
async def test_an_expected_status_is_done(expected: Any, status: int) -> None:
    with FakeSink() as fake:
        fake.reply = Reply.of({}, status, {"Location": "/elsewhere"})
        effect = await run(gateway(fake.url), expect_status=expected)
        assert len(fake.requests) == 1
    assert effect.output["status"] == status


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(400, "invalid"), (401, "denied"), (403, "denied"), (404, "missing"), (409, "refused"), (422, "invalid"),
     (418, "failed")],
)  # fmt: skip
async def test_a_refusal_is_permanent_and_was_not_done(status: int, error_class: str) -> None:
    with FakeSink() as fake:
        fake.reply = Reply.text("no such thing", status)
        with pytest.raises(Permanent, match=f"gateway: POST {status} no such thing") as caught:
            await run(gateway(fake.url))
        assert len(fake.requests) == 1
    assert caught.value.error_class == error_class
    assert caught.value.error_class not in MAY_HAVE_HAPPENED


@pytest.mark.parametrize(("status", "happened"), [(429, False), (503, False), (500, True), (502, True), (504, True)])
async def test_what_may_pass_is_transient(status: int, happened: bool) -> None:
    with FakeSink() as fake:
        fake.inject(Fault.refuse(status, retry_after=7))
        with pytest.raises(Transient) as caught:
            await run(gateway(fake.url))
        assert len(fake.requests) == 1
    assert caught.value.retry_after == 7
    assert (caught.value.error_class in MAY_HAVE_HAPPENED) is happened


async def test_nobody_there_means_not_done() -> None:
    with pytest.raises(Transient, match="cannot connect") as caught:
        await run(gateway(f"http://127.0.0.1:{free_port()}"))
    assert caught.value.error_class == "unreachable"


@pytest.mark.parametrize("midway", [False, True])
async def test_a_lost_answer_may_have_happened(tmp_path: Path, midway: bool) -> None:
    with FakeSink(tmp_path / "effects") as fake:
        fake.inject(Fault.cut(acts=True, midway=midway))
        with pytest.raises(Transient, match="may have been carried out") as caught:
            await run(gateway(fake.url))
        assert len(fake.requests) == 1
        assert fake.effects is not None
        assert fake.effects.count() == 1
    assert caught.value.error_class == "lost"


async def test_a_success_that_was_not_expected_may_have_happened() -> None:
    with FakeSink() as fake, pytest.raises(Permanent, match="POST 200 was not expected") as caught:
        await run(gateway(fake.url), expect_status=202)
    assert caught.value.error_class in MAY_HAVE_HAPPENED


@pytest.mark.parametrize(("status", "happened"), [(301, False), (307, False), (308, False), (302, True), (303, True)])
async def test_a_redirect_is_not_followed(status: int, happened: bool) -> None:
    with FakeSink() as fake, FakeSink() as elsewhere:
        fake.reply = Reply.text("", status, {"Location": f"{elsewhere.url}/{SECRET}"})
        with pytest.raises(Permanent, match="a redirect, which is not followed") as caught:
            await run(gateway(fake.url))
        assert len(fake.requests) == 1
        assert not elsewhere.requests
    assert (caught.value.error_class in MAY_HAVE_HAPPENED) is happened
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_secret_that_is_repeated_is_shown_nowhere(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeSink() as fake:
        fake.reply = Reply.of(
            {"token": SECRET, SECRET: [f"is {SECRET}", "t0ken%2Fs3cret", "p4ss"], "pin": 1234}, status
        )
        there = gateway(fake.url, password="1234")
        try:
            said = repr(await run(there))
        except (Transient, Permanent) as error:
            said = str(error)
        said += repr(await preview(there, path=f"/{SECRET}", body={"token": SECRET}))
    for text in (said, caplog.text):
        assert SECRET not in text
        assert "t0ken%2Fs3cret" not in text
        assert "'pin': 1234" not in text
    assert "•••" in said


async def test_a_long_answer_is_cut_and_text_is_kept_as_text() -> None:
    with FakeSink() as fake:
        fake.reply = Reply.of(["x" * 9_000])
        assert len((await run(gateway(fake.url))).output["answer"]) == 8_193
        fake.reply = Reply.text("thanks")
        assert (await run(gateway(fake.url))).output["answer"] == "thanks"


async def test_a_dry_run_asks_nobody_and_shows_the_call() -> None:
    with FakeSink() as fake:
        url = fake.url.replace("http://", "http://me:pw@")
        shown = await preview(gateway(url), method="PUT", body={"b": 1, "a": "ä"})
        named = await preview(gateway(url), service="payment", body="x" * 900)
        assert not fake.requests
    assert shown.call == f'PUT {fake.url}/hit with {{"a":"ä","b":1}}'
    assert shown.targets == ("gateway/hit",)
    assert named.targets == ("payment",)
    assert len(named.call) == 500


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url": "http://127.0.0.1:1/a?b=c"}, "has a query"),
        ({"url": "ftp://127.0.0.1"}, "no usable URL"),
        ({"url": "http://127.0.0.1:1", "headers": {"X-Team": "secret"}}, "has its own x-team"),
    ],
)
async def test_a_connection_that_does_not_fit_is_told_before_anything_is_sent(given: Any, told: str) -> None:
    for call in (run, preview):
        with pytest.raises(Permanent, match=told) as caught:
            await call(gateway(**given), headers={"x-team": "mine"})
        assert caught.value.error_class == "invalid"
        assert "secret" not in str(caught.value)


async def test_an_internal_address_is_guarded() -> None:
    with pytest.raises(Permanent, match=r"169\.254"):
        await run(gateway("http://169.254.169.254"))

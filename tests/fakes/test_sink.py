"""The sink: what was received, per route answers, effects on the disk before the answer."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.fakes.effects import EffectLog
from tests.fakes.serving import Reply
from tests.fakes.sink import FakeSink


def test_every_request_is_an_effect_on_the_disk(tmp_path: Path) -> None:
    with FakeSink(tmp_path / "effects") as sink:
        for n in range(3):
            assert httpx.post(f"{sink.url}/hook/{n}", content=b"body").text == "ok"
        assert sink.effects is not None
        assert sink.effects.count(path="/hook/1", method="POST", body="body") == 1
    assert EffectLog(tmp_path / "effects").count() == 3


def test_answers_can_be_set_for_one_route() -> None:
    with FakeSink() as sink:
        sink.reply_on("POST", "/teapot", Reply.of({"short": True}, 418, {"X-Stout": "yes"}))
        answer = httpx.post(sink.url + "/teapot")
        assert (answer.status_code, answer.json(), answer.headers["x-stout"]) == (418, {"short": True}, "yes")
        assert httpx.get(sink.url + "/teapot").status_code == 200
        assert [r.method for r in sink.received] == ["POST", "GET"]

"""An address that a site gave a source: the same webhook, the same credentials, never one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from quell.app import App
from quell.errors import InvalidInput
from quell.settings import Settings, parse_settings
from quell.web.server import make_server
from tests.plugins.sources.test_pagerduty import BODY, FLAT
from tests.web.secured import Secured

SOURCES = """
sources:
  pagerduty: {path: /pagerduty/webhook, token: 'env:PAGERDUTY_TOKEN'}
  alertmanager: {path: /alerts.v4}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAGERDUTY_TOKEN", "t0ken-of-pagerduty")
        with Secured(tmp_path_factory.mktemp("paths"), more=SOURCES, insecure=False) as house:
            yield house


def test_it_is_the_webhook_under_another_name(house: Secured) -> None:
    with house.as_("t0ken-of-pagerduty") as pagerduty:
        first = pagerduty.post("/pagerduty/webhook", json=FLAT)
        assert first.status_code == 200
        assert house.incident(first.json()["incidents"][0])["title"] == "Memory is short"
        assert pagerduty.post("/pagerduty/webhook", json=BODY).json() == pagerduty.post(
            "/webhooks/pagerduty", json=BODY
        ).json()  # fmt: skip


def test_it_asks_for_the_same_credentials(house: Secured) -> None:
    """The source's own, from everybody: not even whoever runs the server."""
    for path in ("/pagerduty/webhook", "/webhooks/pagerduty"):
        with house.as_("wrong") as stranger:
            answers = [stranger.post(path, json=BODY), house.http.post(path, json=BODY)]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert all("t0ken" not in answer.text for answer in answers)


@pytest.mark.parametrize("path", ["/pagerduty/webhook", "/webhooks/pagerduty"])
def test_it_has_the_same_limits(house: Secured, path: str) -> None:
    with house.as_("t0ken-of-pagerduty") as pagerduty:
        assert pagerduty.post(path, content=b" " * 1_048_577).status_code == 413
        assert pagerduty.post(path, content=b"{").status_code == 400
        assert pagerduty.post(path, json=BODY, headers={"host": "evil.example"}).status_code == 421
    assert house.http.get(path).status_code == 405


def test_a_key_counts_for_both_names(house: Secured) -> None:
    with house.as_("t0ken-of-pagerduty") as pagerduty:
        for path in ("/pagerduty/webhook", "/webhooks/pagerduty"):
            answer = pagerduty.post(path, json=FLAT, headers={"idempotency-key": "both"})
        assert answer.headers["idempotency-replayed"] == "true"


def test_what_is_only_alike_is_not_it(house: Secured) -> None:
    for path in ("/pagerduty/webhook/", "/pagerduty", "/Pagerduty/webhook", "/pagerduty/webhook2"):
        assert house.http.post(path, json=BODY).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/webhooks/x", "/webhooks", "/api/v1/new", "/api", "/v2/enqueue", "/v2/x", "/static/x", "/alerts", "/healthz",
     "/incidents/trigger", "/incidents/x", "/sign-in", "/approvals/x"],
)  # fmt: skip
def test_one_of_ours_is_refused_at_the_start(path: str) -> None:
    settings = Settings.model_validate({"sources": {"pagerduty": {"path": path}}})
    with pytest.raises(InvalidInput) as caught:
        make_server(App(settings))
    (problem,) = caught.value.problems
    assert (problem.path, problem.found) == ("sources.pagerduty.path", path)


def test_every_one_of_them_is_told_at_once() -> None:
    sources = {name: {"type": "alertmanager", "path": path} for name, path in (("a", "/alerts"), ("b", "/healthz"))}
    with pytest.raises(InvalidInput) as caught:
        make_server(App(Settings.model_validate({"sources": sources})))
    assert [problem.path for problem in caught.value.problems] == ["sources.a.path", "sources.b.path"]


@pytest.mark.parametrize(
    "path", ["", "/", "x", "/a/", "//a", "/a//b", "/a/../b", "/.", "/a?b", "/a#b", "/{a}", "/a b", "/ä", "/a%2fb", "/" + "a" * 200]
)  # fmt: skip
def test_what_is_no_plain_path_is_told_with_its_place(path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_settings(f"sources:\n  pagerduty:\n    path: {path!r}\n", "quell.yaml", Path())
    assert [(problem.path, problem.line) for problem in caught.value.problems] == [("sources.pagerduty.path", 3)]


def test_two_sources_cannot_have_the_same() -> None:
    sources = {name: {"type": "pagerduty", "path": "/pd"} for name in ("eu", "us")}
    with pytest.raises(ValidationError, match=r"sources\.us\.path: /pd is that of sources\.eu already"):
        Settings.model_validate({"sources": sources})

"""Loki: selectors, filters, counts, limits, order, time windows, and errors in plain text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.loki import FakeLoki
from tests.fakes.serving import Fault

T0 = 1_700_000_000


@pytest.fixture
def loki() -> Iterator[FakeLoki]:
    with FakeLoki() as loki:
        loki.add({"app": "pay", "env": "prod"}, "ok 1", "error timeout", "", "error refused", at=T0, step_s=10)
        loki.add({"app": "pay", "env": "test"}, "error in test", at=T0 + 5)
        loki.add({"app": "web", "env": "prod"}, "GET / 500", "GET / 200", at=T0 + 20, step_s=1)
        yield loki


def ask(loki: FakeLoki, query: str, path: str = "query_range", **params: Any) -> httpx.Response:
    window = {"start": str(T0 * 10**9), "end": str((T0 + 100) * 10**9)} if path == "query_range" else {}
    return httpx.get(f"{loki.url}/loki/api/v1/{path}", params={"query": query, **window, **params})


def lines(loki: FakeLoki, query: str, **params: Any) -> list[str]:
    answer = ask(loki, query, **params)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert data["resultType"] == "streams"
    return [line for row in data["result"] for _, line in row["values"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('{app="pay",env="prod"}', ["error refused", "", "error timeout", "ok 1"]),
        ('{app="pay",env="prod"} |= "error"', ["error refused", "error timeout"]),
        ('{app="pay",env="prod"} |= "error" != "refused"', ["error timeout"]),
        ('{app="pay",env="prod"} |~ "^error (t|x)"', ["error timeout"]),
        ('{app="pay",env="prod"} !~ `^(error|ok)` != ""', []),
        ('{app=~"p.y", env!="prod"}', ["error in test"]),
        ('{app=~"pa"}', []),
        ('{app="web", env!~"te.*"} |= "500"', ["GET / 500"]),
        ('{app="pay", zone=""} |= "refused"', ["error refused"]),
    ],
)
def test_queries_find_what_they_say(loki: FakeLoki, query: str, found: list[str]) -> None:
    assert lines(loki, query) == found


def test_order_limit_and_window(loki: FakeLoki) -> None:
    query = '{app="pay",env="prod"}'
    assert lines(loki, query, limit=2) == ["error refused", ""]
    assert lines(loki, query, limit=2, direction="forward") == ["ok 1", "error timeout"]
    assert lines(loki, query, start=T0 + 10, end=T0 + 20) == ["error timeout"]
    assert lines(loki, query, start="2023-11-14T22:13:40Z") == ["error refused", ""]
    assert lines(loki, query, start="", end="") == []


def test_values_carry_nanoseconds_as_text_and_labels(loki: FakeLoki) -> None:
    (row,) = ask(loki, '{app="web"} |= "500"').json()["data"]["result"]
    assert row == {"stream": {"app": "web", "env": "prod"}, "values": [[str((T0 + 20) * 10**9), "GET / 500"]]}


def test_counts_now_and_over_a_range(loki: FakeLoki) -> None:
    query = 'count_over_time({app="pay"} |= "error" [30s])'
    data = ask(loki, query, "query", time=str(T0 + 20)).json()["data"]
    assert data["resultType"] == "vector"
    assert {row["metric"]["env"]: row["value"] for row in data["result"]} == {
        "prod": [T0 + 20, "1"],
        "test": [T0 + 20, "1"],
    }
    data = ask(loki, query, step="30s", end=T0 + 60).json()["data"]
    assert data["resultType"] == "matrix"
    by_env = {row["metric"]["env"]: row["values"] for row in data["result"]}
    assert by_env == {"prod": [[T0 + 30, "2"]], "test": [[T0 + 30, "1"]]}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "parse error at line 1, col 1: syntax error: unexpected $end"),
        ('{app="pay"', "parse error at line 1, col 11"),
        ('{app="pay"} | json', "parse error at line 1, col 13"),
        ('{app=~".*"}', "queries require at least one regexp or equality matcher"),
        ("{}", "queries require at least one"),
        ('{app="pay"} |~ "("', "error parsing regexp"),
        ('rate({app="pay"}[5m])', "unexpected IDENTIFIER"),
        ('count_over_time({app="pay"})', "unexpected )"),
    ],
)
def test_queries_that_cannot_be_read_are_400_in_plain_text(loki: FakeLoki, query: str, said: str) -> None:
    answer = ask(loki, query)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert said in answer.text


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"limit": 5001}, "limit > max_entries_limit_per_query (5001 > 5000)"),
        ({"limit": 0}, "limit must be a positive value"),
        ({"limit": "many"}, "invalid syntax"),
        ({"direction": "sideways"}, "invalid direction"),
        ({"start": "noon"}, "could not parse 'noon'"),
        ({"end": T0 - 1}, "end timestamp must not be before"),
    ],
)
def test_parameters_that_are_refused(loki: FakeLoki, params: dict[str, Any], said: str) -> None:
    answer = ask(loki, '{app="pay"}', **params)
    assert answer.status_code == 400
    assert said in answer.text


def test_a_log_query_is_no_instant_query(loki: FakeLoki) -> None:
    assert ask(loki, '{app="pay"}', "query").status_code == 400


def test_labels_push_and_throttling(loki: FakeLoki) -> None:
    push = {"streams": [{"stream": {"job": "cron"}, "values": [[str(T0 * 10**9), "ran"]]}]}
    assert httpx.post(f"{loki.url}/loki/api/v1/push", json=push).status_code == 204
    assert lines(loki, '{job="cron"}') == ["ran"]
    assert httpx.get(f"{loki.url}/loki/api/v1/labels").json()["data"] == ["app", "env", "job"]
    assert httpx.get(f"{loki.url}/loki/api/v1/label/app/values").json()["data"] == ["pay", "web"]
    loki.inject(Fault.refuse(429, retry_after=2))
    refused = ask(loki, '{job="cron"}')
    assert (refused.status_code, refused.text) == (429, "too many outstanding requests")

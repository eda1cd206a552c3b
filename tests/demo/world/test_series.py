"""The part of Prometheus that the world answers, and what it refuses."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.demo.world.programs.metrics import p95, parse_page
from quell.demo.world.programs.series import BadQuery, History, answer_query, evaluate, labels_of, parse
from quell.demo.world.programs.wire import Request

NOW = 1_000_000.0


def recorded() -> History:
    history = History(lookback_s=5.0)
    for step in range(4):
        up = {labels_of("payment_up", replica=f"payment-{n}"): float(n != 2 or step < 2) for n in (1, 2, 3)}
        rate = {labels_of("payment:error_rate", service="payment"): step / 10} if step != 3 else {}
        history.record(NOW + step, {**up, **rate})
    return history


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("payment_up", [1, 0, 1]),
        ('payment_up{replica="payment-2"}', [0]),
        ('payment_up{replica!="payment-2"}', [1, 1]),
        ('payment_up{replica=~"payment-[12]"}', [1, 0]),
        ("payment_up{replica!~'.*-[12]',}", [1]),
        ('{__name__="payment_up", replica="payment-3"}', [1]),
        ("sum(payment_up)", [2]),
        (" min( payment_up{} ) ", [0]),
        ("avg(payment_up)", [pytest.approx(2 / 3)]),
        ("count(payment_up)", [3]),
        ("nothing_such", []),
        ("sum(nothing_such)", []),
    ],
)
def test_what_it_answers(query: str, values: list[float]) -> None:
    assert list(evaluate(recorded(), query, NOW + 3).values()) == values


def test_a_series_that_is_no_longer_reported_ends_at_once() -> None:
    history = recorded()
    assert list(evaluate(history, "payment:error_rate", NOW + 2.9).values()) == [0.2]
    assert evaluate(history, "payment:error_rate", NOW + 3) == {}
    assert evaluate(history, "payment_up", NOW - 1) == {}
    assert evaluate(history, "payment_up", NOW + 60) == {}


@pytest.mark.parametrize(
    "query",
    ["", "{}", "rate(payment_up[5m])", "payment_up > 1", "a + b", "payment_up{replica}", 'up{a=~"("}', "sum(a) by (b)",
     "payment_up[1m]", "sum(max(a))", 'up{a="b" c="d"}'],
)  # fmt: skip
def test_what_it_refuses(query: str) -> None:
    with pytest.raises(BadQuery):
        parse(query)
    answer = answer_query(recorded(), Request("GET", "/api/v1/query", {"query": query}, b""))
    assert answer.status == 400
    assert isinstance(answer.body, bytes)
    body = json.loads(answer.body)
    assert (body["status"], body["errorType"]) == ("error", "bad_data")
    assert "parse error" in body["error"]


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(query: str) -> None:
    try:
        _, matches = parse(query)
    except BadQuery:
        return
    matches({"__name__": "payment_up"})


def test_instant_by_get_and_by_form() -> None:
    history = recorded()
    get = answer_query(history, Request("GET", "/api/v1/query", {"query": "payment_up", "time": str(NOW)}, b""))
    form = f"query=payment_up%7B%7D&time={NOW}".encode()
    post = answer_query(history, Request("POST", "/api/v1/query", {}, form))
    assert get.body == post.body
    assert isinstance(get.body, bytes)
    data = json.loads(get.body)["data"]
    assert data["resultType"] == "vector"
    expected = {"metric": {"__name__": "payment_up", "replica": "payment-1"}, "value": [NOW, "1"]}
    assert data["result"][0] == expected


def test_a_range_is_a_matrix() -> None:
    form = {"query": "payment:error_rate", "start": str(NOW), "end": str(NOW + 3), "step": "1"}
    answer = answer_query(recorded(), Request("GET", "/api/v1/query_range", form, b""))
    assert isinstance(answer.body, bytes)
    data = json.loads(answer.body)["data"]
    assert data["resultType"] == "matrix"
    assert [value for _, value in data["result"][0]["values"]] == ["0", "0.1", "0.2"]


@pytest.mark.parametrize(
    "change", [{"step": ""}, {"step": "0"}, {"end": "0"}, {"step": "0.00001"}, {"start": "yesterday"}]
)
def test_a_range_that_is_none(change: dict[str, str]) -> None:
    form = {"query": "payment_up", "start": str(NOW), "end": str(NOW + 3), "step": "1", **change}
    assert answer_query(recorded(), Request("GET", "/api/v1/query_range", form, b"")).status == 400


def test_the_history_is_bounded() -> None:
    history = History(lookback_s=5.0)
    labels = labels_of("x")
    for step in range(5000):
        history.record(NOW + step, {labels: 1.0})
    assert len(history._series[labels]) == 4000
    assert evaluate(history, "x", time.time()) == {}


def test_p95_between_two_scrapes() -> None:
    page = 'users_payment_seconds_bucket{{le="{}"}} {}'
    before = parse_page("\n".join(page.format(le, 100) for le in ("0.1", "0.2", "+Inf")))
    after = parse_page("\n".join(page.format(le, n) for le, n in (("0.1", 190), ("0.2", 200), ("+Inf", 200))))
    assert p95(after, before) == pytest.approx(0.15)
    assert p95(before, before) is None
    assert p95({}, {}) is None

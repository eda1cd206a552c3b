"""What a server may answer to the Prometheus check: large, broken, late, with warnings, and nothing at all."""

import asyncio
import time

import pytest

from quell.errors import Permanent, Transient
from quell.incident.finding import Health
from quell.plugins.checks import prometheus_query
from quell.ports import Connection
from tests.fakes.serving import FakeServer, Fault, Reply, Request
from tests.plugins.checks.reading import at, counted_steps, judged, read, read_async


class Shaped(FakeServer):
    """Answers with what the test says, in the shape of Prometheus' API."""

    reply = Reply.of({})

    def answer(self, request: Request) -> Reply:
        return self.reply


@pytest.fixture
def shaped():
    with Shaped() as server:
        yield server


def ask(server, reply=None, **config):
    if reply is not None:
        server.reply = reply
    return read(
        prometheus_query, {"query": "1", **config}, Connection("main", "prometheus", server.url, password="s3cret")
    )


def vector(count):
    return {"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"pod": f"pod-{number}"}, "value": [1, str(number)]} for number in range(count)
    ]}}  # fmt: skip


def test_ten_thousand_series(shaped):
    reading = ask(shaped, Reply.of(vector(10_000)), reduce="max")
    assert reading.facts["value"] == 9_999
    assert len(reading.evidence["series"]) <= 5
    with pytest.raises(Permanent, match="10001 series") as caught:
        ask(shaped, Reply.of(vector(10_001)))
    assert caught.value.error_class == "too_large"
    with pytest.raises(Permanent, match="label sets"):
        ask(shaped, Reply.of(vector(501)), per="pod")


@pytest.mark.parametrize("config", [{"reduce": "sum"}, {"range": "1h", "reduce": "max"}], ids=["now", "range"])
def test_a_large_answer_is_worked_on_beside_the_loop(shaped, config):
    points = [[1000 + second, "1"] for second in range(20_000)]
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": points}]}
    large = Reply.of({"status": "success", "data": data} if "range" in config else vector(5000))
    small = Reply.of({"status": "success", "data": {**data, "result": [{"metric": {}, "values": points[:1]}]}})
    taken = []
    for reply in (small, small, large):  # what the first imports does not count
        with counted_steps() as steps:
            ask(shaped, reply, query="up{a='1'} * 1", **config)
        taken.append(steps[0])
    assert taken[-1] < taken[-2] + 10_000


@pytest.mark.parametrize(
    ("reply", "error", "kind"),
    [
        (Reply.text("denied", 401), Permanent, "denied"),
        (Reply.text("denied", 403), Permanent, "denied"),
        (Reply.text("404 page not found", 404), Permanent, "missing"),
        (Reply.text("slow down", 429, {"retry-after": "7"}), Transient, "exhausted"),
        (Reply.text("bad gateway", 502), Transient, "failed"),
        (Reply.of({"status": "error", "errorType": "timeout", "error": "query timed out"}, 503), Transient, "timeout"),
        (
            Reply.of(
                {"status": "error", "errorType": "execution", "error": "query processing would load too many samples"},
                422,
            ),
            Permanent,
            "too_large",
        ),
        (Reply.text("<html>log in</html>"), Permanent, "invalid"),
        (Reply.of([1, 2]), Permanent, "invalid"),
        (
            Reply.of({"status": "success", "data": {"resultType": "vector", "result": [{"metric": 1}]}}),
            Permanent,
            "invalid",
        ),
        (Reply.of({"status": "success", "data": {"resultType": "vector"}}), Permanent, "invalid"),
        (Reply(200, chunks=(b"x" * 1_000_000 for _ in range(50))), Permanent, "too_large"),
    ],
)
def test_failures_by_their_kind(shaped, reply, error, kind):
    with pytest.raises(error) as caught:
        ask(shaped, reply)
    assert caught.value.error_class == kind
    assert "s3cret" not in str(caught.value)


def test_cut_and_refused_connections(shaped, free_port):
    shaped.inject(Fault.cut())
    with pytest.raises(Transient) as caught:
        ask(shaped)
    assert caught.value.error_class == "unreachable"
    with pytest.raises(Transient) as caught:
        read(prometheus_query, {"query": "1"}, Connection("p", "prometheus", f"http://127.0.0.1:{free_port}"))
    assert caught.value.error_class == "refused"


def test_a_native_histogram_is_no_number(shaped):
    result = [{"metric": {}, "histogram": [1, {"count": "3"}]}]
    reading = ask(shaped, Reply.of({"status": "success", "data": {"resultType": "vector", "result": result}}))
    assert "histogram_quantile" in reading.missing["value"].reason


def test_nan_spoils_its_own_series_and_infinity_all(shaped):
    answer = vector(3)
    answer["data"]["result"][0]["value"][1] = "NaN"
    reading = ask(shaped, Reply.of(answer), reduce="max", ready_value=2)
    assert reading.facts["value"] == 2
    assert reading.facts["all_ready"] is False
    assert "NaN" in reading.missing["ready_count"].reason
    answer["data"]["result"][0]["value"][1] = "+Inf"
    assert "+Inf" in ask(shaped, Reply.of(answer), reduce="max").missing["value"].reason


def test_a_reason_is_given_once(shaped):
    shaped.reply = Reply.of(vector(0))
    none = judged(ask(shaped), healthy="value > 0")
    assert none.status is Health.NO_DATA
    assert none.message.count("series") == 1, none.message
    rows = [{"metric": {"pod": "a"}, "values": [[time.time() - 600, "1"]]}]
    old = Reply.of({"status": "success", "data": {"resultType": "matrix", "result": rows}})
    stale = judged(ask(shaped, old, range="1h", max_age="1m"), healthy="value > 0")
    assert stale.status is Health.NO_DATA
    assert stale.message.count("older than max_age") == 1


def test_warnings_are_kept_and_logins_sent(shaped):
    reading = ask(shaped, Reply.of({**vector(1), "warnings": ["one store is away"]}))
    assert reading.evidence["warnings"] == ("one store is away",)
    assert shaped.requests[-1].headers["authorization"] == "Bearer s3cret"


def test_cancelling_is_prompt(shaped):
    shaped.inject(Fault.slow(60))

    async def cancelled():
        connection = Connection("p", "prometheus", shaped.url)
        with pytest.raises(TimeoutError):
            await read_async(prometheus_query, {"query": "1"}, connection, timeout_s=0.2)

    asyncio.run(cancelled())


def test_the_clock_of_the_probe_is_the_end_of_a_range(shaped):
    matrix = {"resultType": "matrix", "result": [{"metric": {}, "values": [[900, "1"], [990, "2"]]}]}
    shaped.reply = Reply.of({"status": "success", "data": matrix})
    config = {"query": "x", "range": "5m"}
    reading = read(prometheus_query, config, Connection("p", "prometheus", shaped.url), clock=lambda: at(1000))
    assert reading.facts["age"] == 10
    assert reading.facts["value"] == 2
    assert shaped.requests[-1].arg("start") == "700.000"


# --- what lint and verification ask without running anything

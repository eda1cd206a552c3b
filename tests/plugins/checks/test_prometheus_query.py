import time

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.incident.finding import Health
from quell.plugins.checks import prometheus_query
from quell.plugins.checks.prometheus_query import Params, facts, gate, hint, lag
from quell.ports import Connection
from tests.fakes.serving import FakeServer, Reply, Request
from tests.plugins.checks.reading import judged, read
from tests.servers.process import wait_until
from tests.servers.prometheus import Prometheus

PAGE = """
pod_ready{pod="a"} 1
pod_ready{pod="b"} 1
pod_ready{pod="c"} 0
kube_pod_status_ready{pod="a",condition="true"} 1
kube_pod_status_ready{pod="a",condition="false"} 0
kube_pod_status_ready{pod="a",condition="unknown"} 0
kube_pod_status_ready{pod="b",condition="true"} 1
kube_pod_status_ready{pod="b",condition="false"} 0
kube_pod_status_ready{pod="b",condition="unknown"} 0
errors{region="eu",pod="a"} 2
errors{region="eu",pod="b"} 4
errors{region="us",pod="c"} 1
requests{region="eu"} 0
requests{region="us"} 0
latency_ms 250
"""
RULES = """
groups:
- name: test
  rules:
  - {record: 'region:payment_errors:pct2m', expr: 'sum by (region) (errors)'}
"""


class Exporter(FakeServer):
    def __init__(self) -> None:
        super().__init__()
        self.started = time.monotonic()

    def answer(self, request: Request) -> Reply:
        counter = f"steps_total {int((time.monotonic() - self.started) * 100)}\n"
        return Reply(200, (PAGE + counter).encode(), "text/plain; version=0.0.4")


@pytest.fixture(scope="module")
def prometheus():
    with Exporter() as exporter, Prometheus([f"127.0.0.1:{exporter.port}"], rules=RULES) as server:
        wait_until(lambda: server.value("count(region:payment_errors:pct2m)") == 2, "scraped")
        wait_until(lambda: (server.value("count_over_time(steps_total[1m])") or 0) >= 4, "four samples")
        yield Connection("main", "prometheus", server.url)


def test_one_series_has_a_value_an_age_and_labels(prometheus):
    reading = read(prometheus_query, {"query": 'pod_ready{pod="a"}'}, prometheus)
    assert reading.facts["value"] == 1
    assert reading.facts["labels"]["pod"] == "a"
    assert 0 <= reading.facts["age"] < 60
    assert reading.observed_at is not None
    assert reading.evidence["query"] == 'pod_ready{pod="a"}'


def test_ready_counts(prometheus):
    reading = read(prometheus_query, {"query": "pod_ready"}, prometheus)
    assert (reading.facts["ready_count"], reading.facts["total_count"], reading.facts["all_ready"]) == (2, 3, False)


def test_of_the_three_states_of_a_kubernetes_condition_only_true_counts(prometheus):
    reading = read(prometheus_query, {"query": 'kube_pod_status_ready{pod=~"a|b"}'}, prometheus)
    assert (reading.facts["ready_count"], reading.facts["total_count"], reading.facts["all_ready"]) == (2, 2, True)


def test_several_series_have_no_value_unless_somebody_says_how(prometheus):
    several = read(prometheus_query, {"query": "errors"}, prometheus)
    assert several.missing["value"].error_class == "ambiguous"
    assert "say reduce or per" in several.missing["value"].reason
    assert (several.facts["min"], several.facts["max"], several.facts["sum"]) == (1, 4, 7)
    assert read(prometheus_query, {"query": "errors", "reduce": "max"}, prometheus).facts["value"] == 4
    assert read(prometheus_query, {"query": "errors", "reduce": "count"}, prometheus).facts["value"] == 3


def test_per_gives_a_target_for_each_label_set(prometheus):
    reading = read(prometheus_query, {"query": "errors", "per": "region", "reduce": "sum"}, prometheus)
    assert {one.target: one.facts["value"] for one in reading.targets} == {"eu": 6, "us": 1}
    both = read(prometheus_query, {"query": "errors", "per": ["region", "pod"]}, prometheus)
    assert [one.target for one in both.targets] == ["region=eu,pod=a", "region=eu,pod=b", "region=us,pod=c"]
    unclear = read(prometheus_query, {"query": "errors", "per": "region"}, prometheus)
    assert unclear.targets[0].missing["value"].error_class == "ambiguous"


def test_the_level_of_a_recording_rule_tells_its_series_apart(prometheus):
    reading = read(prometheus_query, {"query": "region:payment_errors:pct2m"}, prometheus)
    assert {one.labels["region"]: one.facts["value"] for one in reading.targets} == {"eu": 6, "us": 1}
    now = f"region:payment_errors:pct2m @ {time.time():.3f}"
    assert len(read(prometheus_query, {"query": now}, prometheus).targets) == 2


def test_no_series_is_no_data_and_not_zero(prometheus):
    reading = read(prometheus_query, {"query": "no_such_metric"}, prometheus)
    assert reading.facts["series_count"] == reading.facts["total_count"] == 0
    for name in ("value", "max", "ready_count", "all_ready"):
        assert reading.missing[name].error_class is None


@pytest.mark.parametrize("query", ["requests{region='eu'} / requests{region='eu'}", "vector(1)/0", "vector(-1)/0"])
def test_nan_and_infinity_are_no_data(prometheus, query):
    reading = read(prometheus_query, {"query": query}, prometheus)
    assert "value" in reading.missing
    assert "all_ready" not in reading.facts or reading.facts["all_ready"] is False


def test_scalars_and_texts(prometheus):
    assert read(prometheus_query, {"query": "1 + 1"}, prometheus).facts["value"] == 2
    text = read(prometheus_query, {"query": '"hello"'}, prometheus)
    assert text.facts["text"] == "hello"
    assert "value" in text.missing


@pytest.mark.parametrize("reduce", ["last", "min", "max", "avg", "sum", "count", "p95", "delta", "rate"])
def test_a_range_is_reduced(prometheus, reduce):
    config = {"query": "steps_total", "range": "20s", "step": "200ms", "reduce": reduce}
    value = read(prometheus_query, config, prometheus).facts["value"]
    assert value > 0
    if reduce == "rate":
        assert value == pytest.approx(100, rel=0.5)


def test_a_range_of_several_series_needs_both_words(prometheus):
    config = {"query": "errors", "range": "20s", "step": 1, "reduce": "p95"}
    assert read(prometheus_query, config, prometheus).missing["value"].error_class == "ambiguous"
    both = read(prometheus_query, {**config, "reduce": ["p95", "max"]}, prometheus)
    assert both.facts["value"] == 4


def test_units(prometheus):
    config = {"query": "latency_ms", "unit": "milliseconds"}
    assert read(prometheus_query, config, prometheus).facts["value"] == 0.25
    assert facts(config)["value"] == "duration:ms"
    assert facts({"unit": ["x"]})["value"] == "number"
    assert facts({"unit": "ratio", "reduce": "count"})["value"] == "number"


def test_a_sample_that_is_too_old_is_no_data(prometheus, run_server):
    with Exporter() as exporter:
        server = run_server(Prometheus([f"127.0.0.1:{exporter.port}"]))
        wait_until(lambda: server.value("latency_ms") == 250, "scraped")
        connection = Connection("old", "prometheus", server.url)
        fresh = read(prometheus_query, {"query": "latency_ms", "max_age": "1m"}, connection)
        assert fresh.facts["value"] == 250
        later = time.time() + 120  # within Prometheus' own look-back of five minutes, as when a scrape fails
        for query in ("latency_ms", "latency_ms * 2", "max_over_time(latency_ms[5m])"):
            lax = read(prometheus_query, {"query": query, "at": later}, connection)
            assert "value" in lax.facts
            strict = read(prometheus_query, {"query": query, "at": later, "max_age": "1m"}, connection)
            assert "older than max_age" in strict.missing["value"].reason
            assert strict.missing["value"].error_class is None
            assert "ready_count" in strict.missing


def test_at_takes_a_number_or_a_time(prometheus):
    past = read(prometheus_query, {"query": "latency_ms", "at": "2020-01-01T00:00:00Z"}, prometheus)
    assert past.facts["series_count"] == 0
    assert Params.model_validate({"query": "x", "at": "1753000000.5"}).at == 1753000000.5


def test_prometheus_own_words_for_a_wrong_query(prometheus):
    with pytest.raises(Permanent, match="parse error") as caught:
        read(prometheus_query, {"query": "sum(("}, prometheus)
    assert caught.value.error_class == "invalid"
    with pytest.raises(Permanent, match="cannot evaluate"):
        read(prometheus_query, {"query": "errors * on () errors"}, prometheus)


def test_a_long_query_is_posted(prometheus):
    query = "latency_ms + 0 * (" + " + ".join(["latency_ms"] * 500) + ")"
    assert read(prometheus_query, {"query": query}, prometheus).facts["value"] == 250


# --- answers that no healthy Prometheus gives


def test_a_condition_on_counts_does_not_complain_about_the_value(prometheus):
    reading = read(prometheus_query, {"query": "pod_ready"}, prometheus)
    counts = judged(reading, healthy="ready_count == total_count", critical="ready_count < total_count")
    assert counts.status is Health.CRITICAL
    assert counts.message == "values from 0 to 1"
    value = judged(reading, healthy="value > 0")
    assert (value.status, value.error_class) == (Health.ERROR, "ambiguous")
    assert value.message == "values from 0 to 1; 3 series (they differ in pod); say reduce or per"


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("up", 15),
        ("rate(x[5m])", 315),
        ("max_over_time(rate(x[5m])[1h:1m])", 3915),
        ("rate(x[5m] offset 10m)", 915),
        ("sum(rate(a[1m])) / sum(rate(b[10m]))", 615),
        ("region:payment_errors:pct2m", 135),
        ("job:requests:rate5m{job='x'}", 315),
        ("rate(x[1h30m])", 5415),
        ("x{path='[9h]'} # [9h]", 15),
        ("rate(x[${window}])", 15),
        ("sum((", 15),
        (7, 15),
        (None, 15),
    ],
)
def test_lag_is_the_longest_look_back_and_a_scrape(query, seconds):
    assert lag({"query": query}, 15) == seconds
    assert lag({"query": query, "range": "1m"}, 15) == seconds + 60
    assert lag({"query": query, "range": "${r}"}, 15) == seconds


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('pg_stat_activity_count{datname="payments"} / pg_settings_max_connections * 100', "ratio"),
        ('rate(a{s=~"5.."}[5m]) / rate(a[5m]) * 100', "ratio"),
        ("100 * sum(a) / scalar(max(b))", None),
        ("sum(a) / sum(b)", None),
        ("sum by (x) (a) / sum by (x) (b)", "several series"),
        ("a / on (pod) b", "several series"),
        ("a / 1024", "several series"),
        ("up", "several series"),
        ("topk(3, up)", "several series"),
        ("sum without (pod) (up)", "several series"),
        ("sum(up) or vector(0)", None),
        ("max(up) by (pod)", "several series"),
        ("histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))", None),
        ("histogram_quantile(0.99, sum by (le, pod) (rate(x_bucket[5m])))", "several series"),
        ("time() - max(x)", None),
        ("absent(up)", None),
        ("-sum(up) ^ 2", None),
        ("region:payment_errors:pct2m", None),
        ("sum(up) > bool 3", None),
        ("sum((", None),
        (3, None),
    ],
)
def test_hints(query, words):
    found = hint({"query": query})
    assert (found is None) if words is None else (words in found)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum(payment:rps)", "compares nothing"),
        ("sum(rate(requests_total[1m])) > bool 5", "compares nothing"),
        ("scalar(sum(rps))", "compares nothing"),
        ("errors_total / requests_total > 0.1", "a ratio without aggregation"),
        ("sum(payment:rps) > 5", None),
        ("payment:rps > 5", None),
        ("up and on (job) rps", None),
        ("up unless down", None),
        ("absent(down)", None),
        ("${vars.query}", None),
        ("not a query (", None),
        (7, None),
    ],
)
def test_what_a_required_query_must_do(query, words):
    found = gate({"query": query})
    assert words is None if found is None else words in found


def test_hints_are_quiet_when_the_author_said_how():
    assert hint({"query": "up", "per": "pod"}) is None
    assert hint({"query": "up", "reduce": "max"}) is None


@pytest.mark.parametrize(
    "config",
    [{"query": ""}, {"query": "x", "reduce": "p95"}, {"query": "x", "reduce": ["max", "max"]}, {"query": "x", "step": 1},
     {"query": "x", "range": "5 minutes"}, {"query": "x", "range": "1d", "step": "1s"}, {"query": "x", "querry": "y"},
     {"query": "x", "at": "yesterday"}, {"query": "x", "range": "1m", "reduce": ["p95", "p95"]}],
)  # fmt: skip
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        Params.model_validate(config)

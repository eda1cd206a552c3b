import asyncio
import json
import os
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.incident.finding import Health
from quell.plugins.checks import log_search
from quell.plugins.checks.log_search import Params
from quell.ports import Connection
from tests.fakes.loki import FakeLoki
from tests.fakes.serving import Fault
from tests.plugins.checks.reading import at, health, read, read_async
from tests.plugins.world import probe_over

NOW = 1_753_000_000.0


def stamp(seconds_ago: float) -> str:
    return datetime.fromtimestamp(NOW - seconds_ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def search(path, **config):
    return read(log_search, {"files": str(path), **config}, clock=lambda: at(NOW))


def write(path, lines, age=0.0):
    path.write_text("".join(f"{line}\n" for line in lines))
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_plain_lines_of_the_lookback_are_counted(tmp_path):
    lines = [f"{stamp(60 * minute)} ERROR timeout to db" for minute in range(30, 0, -1)]
    log = write(tmp_path / "app.log", [*lines, f"{stamp(5)} INFO all good"])
    reading = search(log, pattern="time.?out", lookback="10m")
    assert reading.facts["count"] == 10
    assert reading.facts["rate_per_minute"] == 1
    assert reading.facts["first_at"] == NOW - 600
    assert reading.facts["last_at"] == NOW - 60
    assert len(reading.facts["samples"]) == 5
    assert reading.facts["samples"][0].startswith(stamp(60))
    assert reading.facts["truncated"] is False


def test_json_lines_by_level_service_and_field(tmp_path):
    def entry(level, service, code, ago=10):
        return json.dumps({"ts": NOW - ago, "level": level, "service": service, "error": {"code": code}})

    log = write(
        tmp_path / "app.json",
        [entry("error", "payment", "E1"), entry("fatal", "payment", "E1"), entry("error", "payment", "E2"),
         entry("info", "payment", "E3"), entry("error", "search", "E4"), entry("error", "payment", "E5", 10_000),
         '{"broken', "{}", "[" * 5000],
    )  # fmt: skip
    reading = search(log, level="error", service="payment", by="error.code")
    assert reading.facts["count"] == 3
    assert reading.facts["distinct"] == 2
    assert reading.facts["top"] == [{"value": "E1", "count": 2}, {"value": "E2", "count": 1}]


@pytest.mark.parametrize("ts", [NOW * 1000 - 5000, NOW * 1e9, stamp(5), 5, "soon"])
def test_json_moments_in_every_unit(tmp_path, ts):
    log = write(tmp_path / "a.json", [json.dumps({"time": ts, "msg": "boom"})])
    reading = search(log, pattern="boom")
    assert reading.facts.get("count") == (None if ts == "soon" else 0 if ts == 5 else 1)


def test_the_rest_of_an_entry_has_the_moment_of_its_first_line(tmp_path):
    lines = [
        f"{stamp(5000)} ERROR old",
        "  at Old.java",
        f"{stamp(50)} ERROR boom",
        "  at Pay.java:7",
        "  at Pay.java:9",
    ]
    reading = search(write(tmp_path / "a.log", lines), pattern="Pay|Old")
    assert reading.facts["count"] == 2
    assert reading.facts["last_at"] == NOW - 50


def test_lines_without_a_moment_are_no_data_unless_all_of_them_are_asked_for(tmp_path):
    log = write(tmp_path / "a.log", ["boom", "boom"])
    reading = search(log, pattern="boom")
    assert "no moment" in reading.missing["count"].reason
    assert search(log, pattern="boom", lookback=None).facts["count"] == 2


def test_a_rotated_file_is_read_when_the_file_does_not_reach_back(tmp_path):
    write(tmp_path / "app.log.1", [f"{stamp(900)} boom", f"{stamp(500)} boom"], age=400)
    write(tmp_path / "app.log", [f"{stamp(100)} boom"])
    assert search(tmp_path / "app.log", pattern="boom", lookback="10m").facts["count"] == 2
    assert search(tmp_path / "app.log", pattern="boom", lookback="2m").facts["count"] == 1
    write(tmp_path / "app.log", [f"{stamp(700)} boom", f"{stamp(100)} boom"])
    reading = search(tmp_path / "app.log", pattern="boom", lookback="10m")
    assert reading.facts["count"] == 1
    assert reading.facts["files"] == 1


def test_globs_skip_old_and_packed_files(tmp_path):
    write(tmp_path / "a.log", [f"{stamp(10)} boom"])
    write(tmp_path / "b.log", [f"{stamp(9000)} boom"], age=9000)
    write(tmp_path / "c.log.gz", [f"{stamp(10)} boom"])
    reading = search(tmp_path / "*", pattern="boom")
    assert reading.facts["count"] == 1


def test_a_large_file_is_read_from_its_end(tmp_path):
    log = tmp_path / "big.log"
    with log.open("w") as file:
        for ago in range(200_000, 0, -1):
            file.write(f"{stamp(ago)} ERROR {'x' * 60}\n")
    os.utime(log, (NOW, NOW))
    reading = search(log, pattern="ERROR", lookback="1m")
    assert reading.facts["count"] == 60
    assert reading.facts["lines"] < 20_000
    cut = search(log, pattern="ERROR", lookback="100h", max_bytes="1MiB")
    assert cut.facts["truncated"] is True
    assert 5_000 < cut.missing["count"].at_least < 20_000
    assert cut.missing["last_at"].at_least == NOW - 1
    few = search(log, pattern="ERROR", lookback="100h", max_lines=100)
    assert (few.missing["count"].at_least, few.facts["truncated"]) == (100, True)
    assert few.missing["last_at"].at_least == NOW - 1


def test_binary_and_endless_lines(tmp_path):
    log = tmp_path / "bin.log"
    log.write_bytes(os.urandom(200_000) + b"\n" + f"{stamp(5)} boom \x00\xff\n".encode("latin1") + b"y" * 3_000_000)
    os.utime(log, (NOW, NOW))
    reading = search(log, pattern="boom")
    assert reading.missing["count"].at_least == 1


def test_a_missing_file_is_an_error_and_not_a_quiet_log(tmp_path):
    with pytest.raises(Permanent, match="no such file") as caught:
        search(tmp_path / "none.log", pattern="x")
    assert caught.value.error_class == "missing"
    write(tmp_path / "a.log", [f"{stamp(10)} boom"])
    reading = search(tmp_path / "a.log", pattern="boom")
    assert reading.facts["truncated"] is False
    both = read(
        log_search,
        {"files": [str(tmp_path / "a.log"), str(tmp_path / "b.log")], "pattern": "boom"},
        clock=lambda: at(NOW),
    )
    assert both.facts["truncated"] is True
    assert both.missing["count"].at_least == 1


LEVELS = {"healthy": "count < 100", "critical": "count >= 100"}


def test_a_search_that_was_cut_is_not_healthy(tmp_path):
    """900 errors, of which the budget reaches some sixty."""
    log = write(tmp_path / "a.log", [f"{stamp(9)} ERROR {number}" for number in range(900)])
    cut = search(log, pattern="ERROR", max_bytes=2048)
    assert cut.missing["count"].at_least < 100
    assert health(cut, **LEVELS) is Health.NO_DATA
    assert health(cut, healthy="rate_per_minute < 10") is Health.NO_DATA
    assert health(cut, healthy="count < 5", critical="count >= 5") is Health.CRITICAL
    assert health(search(log, pattern="ERROR"), **LEVELS) is Health.CRITICAL


@pytest.mark.parametrize("other", ["gone.log", "folder.log", "old.log.gz", "nothing-*.log", "bro*.log"])
def test_a_file_that_was_not_read_is_not_a_quiet_one(tmp_path, other):
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "broken.log").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "old.log.gz", [])
    quiet = write(tmp_path / "a.log", [f"{stamp(10)} fine"])
    reading = read(
        log_search, {"files": [str(quiet), str(tmp_path / other)], "pattern": "ERROR"}, clock=lambda: at(NOW)
    )
    assert reading.facts["truncated"] is True
    assert health(reading, **LEVELS) is Health.NO_DATA


def test_what_a_glob_finds_beside_files_was_not_asked_for(tmp_path):
    (tmp_path / "folder.log").mkdir()
    write(tmp_path / "a.log", [f"{stamp(10)} fine"])
    assert health(search(tmp_path / "*.log", pattern="ERROR"), **LEVELS) is Health.HEALTHY


def test_a_named_pipe_does_not_hang_the_search(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Permanent):
        search(tmp_path / "pipe", pattern="x", lookback=None)


def test_a_pattern_that_takes_long_can_be_cancelled(tmp_path):
    log = write(tmp_path / "a.log", [f"{stamp(5)} " + "a" * 10_000] * 50)

    async def cancelled():
        config = {"files": str(log), "pattern": "a.*a.*a.*a.*b"}
        async with probe_over(clock=lambda: at(NOW)) as probe:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await log_search.run(Params.model_validate(config), probe)

    asyncio.run(cancelled())


@pytest.mark.parametrize(
    "config",
    [{"pattern": "x"}, {"files": "a", "query": "{}"}, {"files": "a", "pattern": "(x+)+"}, {"files": "a", "level": "loud"},
     {"query": "{a='b'}", "service": "c"}, {"service": "a", "lookback": None}, {"files": "a", "lookback": "soon"}],
)  # fmt: skip
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        Params.model_validate(config)


# --- Loki


@pytest.fixture
def loki():
    with FakeLoki() as server:
        yield server


def ask(server, **config):
    return read(log_search, config, Connection("logs", "loki", server.url, password="s3cret"), clock=lambda: at(NOW))


def test_loki_counts_and_samples(loki):
    for region, number in (("eu", 7), ("us", 2)):
        labels = {"service": "payment", "level": "error", "region": region}
        loki.add(labels, *[f"timeout {region} {one}" for one in range(number)], at=NOW - 60, step_s=1)
    loki.add({"service": "payment", "level": "info"}, "timeout not an error", at=NOW - 60)
    loki.add({"service": "payment", "level": "error"}, "timeout long ago", at=NOW - 10_000)
    reading = ask(loki, service="payment", level="error", pattern='time"?out', by="region")
    assert reading.facts["count"] == 9
    assert reading.facts["top"] == [{"value": "eu", "count": 7}, {"value": "us", "count": 2}]
    assert reading.facts["first_at"] == NOW - 60
    assert reading.facts["last_at"] == NOW - 54
    assert len(reading.facts["samples"]) == 5
    assert loki.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(reading)


def test_a_query_of_the_author(loki):
    loki.add({"app": "pay"}, "boom", "fine", at=NOW - 5)
    assert ask(loki, query='{app="pay"} |= "boom"').facts["count"] == 1
    with pytest.raises(Permanent, match="log query"):
        ask(loki, query='sum(count_over_time({app="pay"}[5m]))')


def test_no_line_is_a_count_of_zero(loki):
    reading = ask(loki, service="payment")
    assert reading.facts["count"] == 0
    assert "last_at" in reading.missing


@pytest.mark.parametrize(("status", "error", "kind"), [(400, Permanent, "invalid"), (401, Permanent, "denied"), (429, Transient, "exhausted"), (503, Transient, "failed")])  # fmt: skip
def test_failures_by_their_kind(loki, status, error, kind):
    loki.inject(Fault.refuse(status, times=0))
    with pytest.raises(error) as caught:
        ask(loki, service="payment")
    assert caught.value.error_class == kind


def test_an_answer_that_is_not_lokis(loki):
    loki.inject(Fault.malformed(times=0))
    with pytest.raises(Permanent, match="not of the form"):
        ask(loki, service="payment")


def test_without_a_connection_the_reason_says_so():
    async def nowhere():
        await read_async(log_search, {"service": "payment"})

    with pytest.raises(Permanent, match="no connection of type loki"):
        asyncio.run(nowhere())


def test_a_long_line_is_searched_to_its_end_and_one_that_is_too_long_is_told(tmp_path):
    log = write(tmp_path / "app.log", [f"{stamp(9)} {'x' * 100_000} timeout", f"{stamp(8)} short timeout"])
    assert search(log, pattern="timeout").facts["count"] == 2
    write(log, [f"{stamp(9)} {'x' * 400_000} timeout", f"{stamp(8)} short timeout"])
    reading = search(log, pattern="timeout")
    assert reading.missing["count"].at_least == 1
    assert "longer than 256 KiB" in reading.missing["count"].reason
    assert health(reading, healthy="count < 5", critical="count >= 5") is not Health.HEALTHY
    assert health(reading, critical="count >= 1") is Health.CRITICAL


def test_matches_without_a_moment_beside_others_make_a_count_the_least(tmp_path):
    log = write(
        tmp_path / "app.log", ["timeout before any moment", f"{stamp(8)} timeout", "  and timeout in its trace"]
    )
    reading = search(log, pattern="timeout", lookback="5m")
    assert reading.missing["count"].at_least == 2
    assert "1 more that match carry no moment" in reading.missing["count"].reason
    assert search(log, pattern="trace", lookback="5m").facts["count"] == 1


def test_the_rest_of_an_entry_that_is_too_old_is_no_match_of_unknown_age(tmp_path):
    old = f"{stamp(9000)} an entry\n  timeout in its trace"
    log = write(tmp_path / "app.log", ["  timeout in an older trace", old, f"{stamp(8)} timeout"])
    assert search(log, pattern="timeout", lookback="5m").facts["count"] == 1

"""The job runner: one effect a key, states in order, polls that say when to come back, cancellation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.jobs import FakeJobs
from tests.fakes.serving import Fault


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[FakeJobs]:
    with FakeJobs(tmp_path / "effects") as runner:
        yield runner


def start(runner: FakeJobs, key: str = "k1", **body: object) -> httpx.Response:
    return httpx.post(f"{runner.url}/jobs", json=body, headers={"Idempotency-Key": key})


def state(runner: FakeJobs, job: str = "job-1") -> str:
    return str(httpx.get(f"{runner.url}/jobs/{job}").json()["status"])


def test_a_job_runs_and_succeeds_with_its_result(runner: FakeJobs) -> None:
    runner.run_s = 3600
    runner.result = {"rows": 3}
    begun = start(runner, task="reindex")
    assert begun.status_code == 202
    assert begun.headers["location"] == "/jobs/job-1"
    poll = httpx.get(f"{runner.url}/jobs/job-1")
    assert poll.json()["status"] == "running"
    assert poll.headers["retry-after"] == "1"
    runner.finish("job-1")
    ended = httpx.get(f"{runner.url}/jobs/job-1")
    assert ended.json() == {"id": "job-1", "status": "succeeded", "progress": 1.0, "result": {"rows": 3}}
    assert "retry-after" not in ended.headers


def test_time_alone_ends_a_job(runner: FakeJobs) -> None:
    runner.outcome = "failed"
    start(runner)
    runner.wait_for(lambda: state(runner) == "failed")


def test_the_same_key_gives_the_same_job_and_one_effect(runner: FakeJobs) -> None:
    first, again = start(runner, task="a"), start(runner, task="a")
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert runner.effects.count(key="k1") == 1
    assert start(runner, task="b").status_code == 422
    assert start(runner, "k2", task="b").json()["id"] == "job-2"


def test_an_answer_lost_after_the_start_does_not_start_twice(runner: FakeJobs) -> None:
    runner.inject(Fault.cut(method="POST", acts=True))
    with pytest.raises(httpx.RemoteProtocolError):
        start(runner)
    assert start(runner).json()["id"] == "job-1"
    assert runner.effects.count() == 1


def test_a_queued_job_has_no_effect_until_it_runs_polled_or_not(runner: FakeJobs) -> None:
    runner.queue_s = 3600
    start(runner)
    assert state(runner) == "queued"
    assert runner.effects.count() == 0
    runner.queue_s = 0.02
    start(runner, "k2")
    runner.wait_for(lambda: runner.effects.count(key="k2") == 1)
    assert runner.effects.count() == 1


def test_cancelling_ends_a_job_once(runner: FakeJobs) -> None:
    runner.run_s = 3600
    start(runner)
    cancelled = httpx.post(f"{runner.url}/jobs/job-1/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert httpx.post(f"{runner.url}/jobs/job-1/cancel").status_code == 409
    runner.queue_s = 3600
    start(runner, "k2")
    httpx.post(f"{runner.url}/jobs/job-2/cancel")
    assert runner.effects.count(job="job-2") == 0


def test_requests_that_make_no_sense(runner: FakeJobs) -> None:
    runner.require_key = True
    assert httpx.post(f"{runner.url}/jobs", json={}).status_code == 400
    assert httpx.post(f"{runner.url}/jobs", content=b"{", headers={"Idempotency-Key": "x"}).status_code == 400
    assert httpx.get(f"{runner.url}/jobs/nope").status_code == 404
    assert httpx.get(f"{runner.url}/elsewhere").status_code == 404

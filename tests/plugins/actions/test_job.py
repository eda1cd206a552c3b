"""Jobs of another system over HTTP: started once, followed to the end, called off."""

import asyncio
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.actions import job
from quell.plugins.actions.job import Params
from quell.ports import Connection, Effect, Reading
from tests.fakes.jobs import FakeJobs
from tests.fakes.serving import Fault, Reply
from tests.fakes.sink import FakeSink
from tests.plugins.world import probe_over
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio


def runner(url: str, **more: Any) -> Connection:
    return Connection(name="rundeck", type="http", url=url, **more)


async def run(url: str, key: str = "run/fence/1/db", **written: Any) -> Effect:
    async with probe_over(runner(url, password="t0ken"), key=key) as probe:
        params = Params.model_validate({"job": "rundeck:fence-pg", "poll": "20ms", **written})
        return await job.execute(params, probe)


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    return tmp_path / "effects"


async def test_it_is_started_followed_and_its_result_comes_back(effects: Path) -> None:
    with FakeJobs(effects, queue_s=0.05, run_s=0.1) as fake:
        fake.poll_after_s = None
        fake.result = {"fenced": "db-1"}
        effect = await run(fake.url, params={"host": "db-1"})
        assert fake.effects.count() == 1
        assert fake.effects.read()[0]["body"] == {"job": "fence-pg", "params": {"host": "db-1"}}
        assert fake.effects.read()[0]["key"] == "run/fence/1/db"
        assert fake.requests[0].headers["authorization"] == "Bearer t0ken"
        assert [request.method for request in fake.requests].count("GET") >= 2
    assert effect.output["result"] == {"fenced": "db-1"}
    assert effect.summary == "job fence-pg (job-1) on rundeck succeeded"


async def test_the_same_execution_again_is_the_same_job(effects: Path) -> None:
    with FakeJobs(effects) as fake:
        fake.poll_after_s = None
        await run(fake.url)
        await run(fake.url)
        assert len(fake.jobs) == 1
        await run(fake.url, key="run/fence/2/db")
        assert len(fake.jobs) == 2


async def test_retry_after_paces_the_looks(effects: Path) -> None:
    with FakeJobs(effects, run_s=0.5) as fake:
        fake.poll_after_s = 1
        await run(fake.url, poll="1ms")
        assert len([request for request in fake.requests if request.method == "GET"]) == 1


async def test_a_failed_job_is_permanent_in_its_words(effects: Path) -> None:
    with FakeJobs(effects) as fake:
        fake.outcome, fake.poll_after_s = "failed", None
        with pytest.raises(Permanent, match=r"job fence-pg \(job-1\) on rundeck failed: the job failed") as caught:
            await run(fake.url)
    assert caught.value.error_class == "failed"


async def test_a_job_that_somebody_cancelled_is_said(effects: Path) -> None:
    with FakeJobs(effects, run_s=3600) as fake:
        fake.poll_after_s = None
        task = asyncio.create_task(run(fake.url))
        while not fake.jobs:
            await asyncio.sleep(0.01)
        fake.finish("job-1", "cancelled")
        with pytest.raises(Permanent, match="cancelled by somebody") as caught:
            await task
    assert caught.value.error_class == "cancelled"


async def test_cancelling_calls_the_job_off(effects: Path) -> None:
    with FakeJobs(effects, run_s=3600) as fake:
        fake.poll_after_s = None
        task = asyncio.create_task(run(fake.url))
        while not fake.jobs:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert fake.jobs["job-1"].cancelled_at is not None
    assert caught.value.__notes__ == ["cancelled; job fence-pg (job-1) on rundeck was asked to stop"]


async def test_cancelling_while_the_start_is_on_its_way_calls_it_off_too(effects: Path) -> None:
    with FakeJobs(effects, run_s=3600) as fake:
        fake.inject(Fault.slow(0.3, acts=True, method="POST"))
        task = asyncio.create_task(run(fake.url))
        while not fake.jobs:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fake.jobs["job-1"].cancelled_at is not None


async def test_looks_that_fail_do_not_end_or_repeat_the_job(effects: Path) -> None:
    with FakeJobs(effects, run_s=0.3) as fake:
        fake.poll_after_s = None
        fake.inject(Fault.refuse(503, method="GET"), Fault.cut(method="GET"), Fault.malformed(method="GET"))
        await run(fake.url)
        assert fake.effects.count() == 1
        assert len([request for request in fake.requests if request.method == "POST"]) == 1


async def test_an_end_that_cannot_be_learnt_is_lost(effects: Path) -> None:
    with FakeJobs(effects, run_s=3600) as fake:
        fake.poll_after_s = None
        fake.inject(Fault.refuse(503, method="GET", times=0))
        with pytest.raises(Permanent, match="was started and its end is not known") as caught:
            await run(fake.url)
    assert caught.value.error_class == "lost"


async def test_a_start_whose_answer_is_lost_may_have_happened(effects: Path) -> None:
    with FakeJobs(effects) as fake:
        fake.poll_after_s = None
        fake.inject(Fault.cut(acts=True, method="POST"))
        with pytest.raises(Transient, match="may have been carried out") as caught:
            await run(fake.url)
        assert caught.value.error_class == "lost"
        await run(fake.url)
        assert fake.effects.count() == 1


async def test_an_unreadable_start_with_a_location_is_followed(effects: Path) -> None:
    with FakeSink() as fake:
        fake.reply_on("POST", "/jobs", Reply(202, b"<html>", headers={"Location": "/jobs/7"}))
        fake.reply_on("GET", "/jobs/7", Reply.of({"status": "Success"}))
        assert (await run(fake.url)).summary == "job fence-pg (7) on rundeck success"


async def test_credentials_never_go_to_another_host() -> None:
    with FakeSink() as fake, FakeSink() as other:
        fake.reply_on("POST", "/jobs", Reply.of({"id": 1}, 202, {"Location": f"{other.url}/jobs/1"}))
        with pytest.raises(Permanent, match="another host") as caught:
            await run(fake.url)
        assert other.requests == []
    assert caught.value.error_class == "denied"


@pytest.mark.parametrize(
    ("status", "kind", "error_class"),
    [(503, Transient, "busy"), (401, Permanent, "denied"), (422, Permanent, "invalid"), (404, Permanent, "missing")],
)
async def test_a_refused_start(effects: Path, status: int, kind: type[Exception], error_class: str) -> None:
    with FakeJobs(effects) as fake:
        fake.inject(Fault.refuse(status, retry_after=4))
        with pytest.raises(kind) as caught:
            await run(fake.url)
    assert caught.value.error_class == error_class  # type: ignore[attr-defined]
    assert getattr(caught.value, "retry_after", 4.0) == 4.0
    assert "t0ken" not in str(caught.value)


async def test_nobody_there_was_never_asked() -> None:
    with pytest.raises(Transient) as caught:
        await run(f"http://127.0.0.1:{free_port()}")
    assert caught.value.error_class == "unreachable"


async def test_the_undo_runs_the_other_job(effects: Path) -> None:
    with FakeJobs(effects) as fake:
        fake.poll_after_s = None
        params = Params(job="rundeck:fence-pg", undo_job="rundeck:unfence-pg", params={"host": "db-1"}, poll=0.02)
        async with probe_over(runner(fake.url), key="run/fence/1/db") as probe:
            preview = await job.dry_run(params, probe)
            assert fake.requests == []
            effect = await job.execute(params, probe)
            await job.undo(params, effect, probe)
            with pytest.raises(Permanent, match="no undo_job"):
                await job.undo(Params(job="rundeck:fence-pg"), effect, probe)
        assert [entry["body"]["job"] for entry in fake.effects.read()] == ["fence-pg", "unfence-pg"]
        assert fake.effects.read()[1]["key"] == "run/fence/1/db/undo"
    assert preview.call == 'start job fence-pg on rundeck with {"host":"db-1"}'
    assert preview.undo == "start job rundeck:unfence-pg on rundeck"


FIND = "/jobs?key={key}"


async def look(url: str, key: str = "run/fence/1/db", **written: Any) -> Reading:
    async with probe_over(runner(url), key=key) as probe:
        reading = await job.observe(Params.model_validate({"job": "rundeck:fence-pg", **written}), probe)
    assert set(reading.facts) | set(reading.missing) == set(job.FACTS)
    return reading


@pytest.fixture
def after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered of what was started before."""
    monkeypatch.setattr(job, "_started_at", OrderedDict())


async def test_a_job_whose_answer_was_lost_is_found_by_its_key(effects: Path) -> None:
    with FakeJobs(effects, run_s=3600) as fake:
        fake.inject(Fault.cut(acts=True, method="POST"))
        with pytest.raises(Transient, match="may have been carried out"):
            await run(fake.url, key="run/lost/1/db")
        running = await look(fake.url, key="run/lost/1/db", find=FIND)
        fake.finish("job-1", result={"fenced": "db-1"})
        ended = await look(fake.url, key="run/lost/1/db", find=FIND)
        assert {request.method for request in fake.requests[1:]} == {"GET"}
        assert fake.requests[-1].query["key"] == ["run/lost/1/db"]
    assert running.facts == {"started": True, "ended": False, "succeeded": False, "state": "running"}
    assert (ended.facts["succeeded"], ended.facts["result"]) == (True, {"fenced": "db-1"})


@pytest.mark.usefixtures("after_a_restart")
async def test_facts_of_a_job_that_failed_or_was_never_started(effects: Path) -> None:
    with FakeJobs(effects) as fake:
        fake.outcome, fake.poll_after_s = "failed", None
        never = await look(fake.url, find=FIND)
        with pytest.raises(Permanent):
            await run(fake.url)
        failed = await look(fake.url, find=FIND)
    assert never.facts == {"started": False, "ended": False, "succeeded": False}
    assert failed.facts["error"] == "the job failed"
    assert (failed.facts["ended"], failed.facts["succeeded"], failed.facts["state"]) == (True, False, "failed")


async def test_a_started_job_is_looked_at_where_it_was_started(effects: Path) -> None:
    with FakeJobs(effects) as fake:
        fake.poll_after_s, fake.lookup = None, False
        await run(fake.url, key="run/remembered/1/db")
        assert (await look(fake.url, key="run/remembered/1/db")).facts["succeeded"] is True
        fake.jobs.clear()
        gone = await look(fake.url, key="run/remembered/1/db")
    assert gone.facts == {}
    assert "does not know job fence-pg (job-1)" in gone.missing["succeeded"].reason


@pytest.mark.usefixtures("after_a_restart")
async def test_where_nobody_can_be_asked_nothing_is_known(effects: Path) -> None:
    with FakeJobs(effects) as fake:
        fake.poll_after_s = None
        await run(fake.url)
        job._started_at.clear()
        asked = len(fake.requests)
        reading = await look(fake.url)
        assert len(fake.requests) == asked
    assert reading.facts == {}
    assert "find does not say" in reading.missing["succeeded"].reason
    assert reading.missing["succeeded"].error_class is None


@pytest.mark.usefixtures("after_a_restart")
async def test_a_list_of_other_jobs_settles_nothing() -> None:
    with FakeSink() as fake:
        fake.reply = Reply.of([{"id": 1, "status": "succeeded"}])
        other = await look(fake.url, find=FIND)
        fake.reply = Reply.of([])
        none = await look(fake.url, find=FIND)
        fake.reply = Reply.of("what?")
        with pytest.raises(Permanent, match="neither a job nor a list"):
            await look(fake.url, find=FIND)
    assert other.facts == {}
    assert "0 of 1 jobs in the answer name the key" in other.missing["succeeded"].reason
    assert none.facts["started"] is False


@pytest.mark.parametrize("find", ["jobs?key={key}", "/jobs", "/jobs/{id}", "/{key}/{key}"])
def test_find_says_where_the_key_goes(find: str) -> None:
    with pytest.raises(ValidationError, match="find"):
        Params(job="rundeck:fence-pg", find=find)


def test_a_job_needs_a_name() -> None:
    with pytest.raises(ValidationError, match="no name"):
        Params(job="rundeck:")

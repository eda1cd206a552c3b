"""A fake job runner over HTTP: start a job, poll it, cancel it; its effects are counted on the disk.

POST /jobs with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header: the same key and body give
the same job, another body 422, a key that is required and missing 400), GET /jobs/{id} with Retry-After
while it runs, POST /jobs/{id}/cancel (409 when it has ended). A job's state follows from the clock and the
times that a test sets; its effect is written once, when it starts running, polled or not.

It never runs a command.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.fakes.effects import EffectLog
from tests.fakes.serving import FakeServer, Fault, Reply, Request

ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Job:
    """One job. Its state follows from the clock and from what was asked of it."""

    id: str
    body: dict[str, Any]
    begun: float
    queue_s: float
    run_s: float
    outcome: str
    key: str | None = None
    cancelled_at: float | None = None
    effect_written: bool = False
    result: Any = field(default_factory=lambda: {"ok": True})


class FakeJobs(FakeServer):
    """Jobs wait `queue_s`, run `run_s`, and end as `outcome` (all settable; used for jobs started later)."""

    def __init__(self, effects: Path, *, queue_s: float = 0.0, run_s: float = 0.05) -> None:
        super().__init__()
        self.effects = EffectLog(effects)
        self.queue_s, self.run_s = queue_s, run_s
        self.outcome = "succeeded"
        self.result: Any = {"ok": True}
        self.poll_after_s: float | None = 1
        self.require_key = False
        self.lookup = True
        self.jobs: dict[str, Job] = {}
        self._keys: dict[str, tuple[str, str]] = {}
        self._runner = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._runner.start()
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._runner.join()
        super().__exit__(*exc)

    def _run(self) -> None:
        while not self._stopping.wait(0.01):
            with self._changed:
                for job in self.jobs.values():
                    self._write_effect_if_running(job)

    def hold(self, job_id: str, *, run_s: float = 3600.0) -> None:
        """Let a started job run for that long from now on."""
        with self._changed:
            self.jobs[job_id].run_s = run_s

    def finish(self, job_id: str, outcome: str = "succeeded", result: Any = None) -> None:
        """End a job now, with this outcome."""
        with self._changed:
            job = self.jobs[job_id]
            self._write_effect(job)
            job.queue_s, job.run_s, job.outcome = 0.0, 0.0, outcome
            job.result = job.result if result is None else result

    # -- the protocol

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """An injected status as a problem document."""
        return _problem(fault.status, f"injected {fault.status}")

    def answer(self, request: Request) -> Reply:
        """Route."""
        parts = request.path.strip("/").split("/")
        if parts == ["jobs"] and request.method == "POST":
            return self._start(request)
        if parts == ["jobs"] and self.lookup:
            return self._listed(request.arg("key"))
        if len(parts) < 2 or parts[0] != "jobs":
            return _problem(404, "no such path")
        with self._changed:
            job = self.jobs.get(parts[1])
            if job is None:
                return _problem(404, f"no job {parts[1]}")
            if len(parts) == 2 and request.method == "GET":
                return self._shown(job)
            if parts[2:] == ["cancel"] and request.method == "POST":
                return self._cancel(job)
        return _problem(405, "not allowed here")

    def _start(self, request: Request) -> Reply:
        key = request.headers.get("idempotency-key")
        if key is None and self.require_key:
            return _problem(400, "Idempotency-Key is missing")
        try:
            body = request.json()
        except ValueError:
            return _problem(400, "the body is not JSON")
        if not isinstance(body, dict):
            return _problem(400, "the body is not an object")
        print_of_body = hashlib.sha256(request.body).hexdigest()
        with self._changed:
            if key in self._keys:
                job_id, seen = self._keys[key]
                if seen != print_of_body:
                    return _problem(422, "Idempotency-Key is already used")
                return self._shown(self.jobs[job_id], 200, {"Idempotent-Replayed": "true"})
            job = Job(f"job-{len(self.jobs) + 1}", body, time.monotonic(), self.queue_s, self.run_s, self.outcome, key)
            job.result = self.result
            self.jobs[job.id] = job
            if key is not None:
                self._keys[key] = (job.id, print_of_body)
            return self._shown(job, 202, {"Location": f"/jobs/{job.id}"})

    def _listed(self, key: str) -> Reply:
        with self._changed:
            found = [job for job in self.jobs.values() if job.key == key]
            shown = [{"key": job.key, **json.loads(self._shown(job).body)} for job in found]
        return Reply.of({"jobs": shown})

    def _cancel(self, job: Job) -> Reply:
        if self._state(job)[0] in ENDED:
            return _problem(409, f"{job.id} has ended: {self._state(job)[0]}")
        self._write_effect_if_running(job)
        job.cancelled_at = time.monotonic()
        return self._shown(job, 202)

    def _shown(self, job: Job, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
        self._write_effect_if_running(job)
        state, progress = self._state(job)
        document: dict[str, Any] = {"id": job.id, "status": state, "progress": round(progress, 3)}
        if state == "succeeded":
            document["result"] = job.result
        if state == "failed":
            document["error"] = {"message": "the job failed", "result": job.result}
        extra = dict(headers or {})
        if state not in ENDED and self.poll_after_s is not None:
            extra["Retry-After"] = f"{self.poll_after_s:g}"
        return Reply.of(document, status, extra)

    def _state(self, job: Job) -> tuple[str, float]:
        end = job.cancelled_at if job.cancelled_at is not None else time.monotonic()
        ran = end - job.begun - job.queue_s
        done = 1.0 if job.run_s <= 0 else min(1.0, max(0.0, ran / job.run_s))
        if ran >= job.run_s:
            return job.outcome, 1.0
        if job.cancelled_at is not None:
            return "cancelled", done
        return ("running", done) if ran >= 0 else ("queued", 0.0)

    def _write_effect_if_running(self, job: Job) -> None:
        if job.cancelled_at is None and self._state(job)[0] != "queued":
            self._write_effect(job)

    def _write_effect(self, job: Job) -> None:
        if not job.effect_written:
            self.effects.append({"job": job.id, "key": job.key, "body": job.body})
            job.effect_written = True


def _problem(status: int, title: str) -> Reply:
    text = Reply.of({"title": title, "status": status}, status)
    return Reply(status, text.body, "application/problem+json")

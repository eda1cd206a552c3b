"""The users: a bounded number of them, each paying at a steady rate, and what they see of it.

A user whose last payment took too long skips a turn; nobody catches up with a burst. Success and latency are
measured at the users' end, the latency over payments that succeeded. Stops paying after its time is over.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque

from quell.demo.world.programs import wire

PATIENCE_S = 2.0
BUCKET_S = 0.5
REMEMBERED = 60_000
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY")
BOUNDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)

Sample = tuple[float, bool, float]
"""When a payment ended (unix seconds), whether it succeeded, how long it took in seconds."""


def quantile(ordered: list[float], share: float) -> float | None:
    """The nearest-rank quantile; None of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def summary(samples: list[Sample], seconds: float) -> dict[str, object]:
    """What users saw in these samples, taken over `seconds`."""
    good = sorted(took for _, ok, took in samples if ok)
    return {
        "ok": len(good),
        "failed": len(samples) - len(good),
        "success_rate": len(good) / len(samples) if samples else None,
        "p50_s": quantile(good, 0.5),
        "p95_s": quantile(good, 0.95),
        "rps": len(samples) / seconds if seconds > 0 else 0.0,
    }


class Users:
    """Everybody who pays, and the record of it."""

    def __init__(self, port: int, rate: float, users: int, duration_s: float) -> None:
        self._port, self._period, self._users = port, users / rate, users
        self._end = time.monotonic() + duration_s
        self._samples: deque[Sample] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()
        self._totals = {"ok": 0, "failed": 0}
        self._latency = [0] * (len(BOUNDS) + 1)
        threading.Thread(target=self._begin, daemon=True).start()

    def _begin(self) -> None:
        """Nobody pays before the shop has opened."""
        door = wire.Client(self._port, PATIENCE_S)
        while True:
            try:
                if door.ask("GET", "/health")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.02)
        opening = time.monotonic()
        for number in range(self._users):
            first = opening + self._period * number / self._users
            threading.Thread(target=self._user, args=(number, first), daemon=True).start()

    def _user(self, number: int, turn: float) -> None:
        client = wire.Client(self._port, PATIENCE_S)
        count = 0
        while turn < self._end:
            time.sleep(max(0.0, turn - time.monotonic()))
            count += 1
            payment = {
                "id": f"{number}-{count}-{time.time_ns():x}",
                "account": number,
                "cents": 100 + (number * 37 + count * 11) % 9900,
                "currency": CURRENCIES[(number + count) % len(CURRENCIES)],
            }
            began = time.monotonic()
            try:
                ok = client.ask("POST", "/pay", json.dumps(payment).encode())[0] < 300
            except OSError:
                ok = False
            self._record(ok, time.monotonic() - began)
            turn += self._period
            while turn < time.monotonic():
                turn += self._period

    def _record(self, ok: bool, took: float) -> None:
        with self._lock:
            self._samples.append((time.time(), ok, took))
            self._totals["ok" if ok else "failed"] += 1
            if ok:
                self._latency[sum(took > bound for bound in BOUNDS)] += 1

    def _between(self, since: float, until: float) -> list[Sample]:
        with self._lock:
            return [sample for sample in self._samples if since <= sample[0] < until]

    def handle(self, request: wire.Request) -> wire.Answer:
        if request.path == "/metrics":
            return wire.Answer(200, self._metrics().encode(), "text/plain; version=0.0.4")
        if request.path not in ("/snapshot", "/history"):
            return wire.answer_json(404, {"error": "not found"})
        now = time.time()
        try:
            since = float(request.query.get("since", now - 1.0))
            until = float(request.query.get("until", now))
        except ValueError:
            return wire.answer_json(400, {"error": "since and until are unix seconds"})
        samples = self._between(since, until)
        if request.path == "/snapshot":
            return wire.answer_json(200, summary(samples, until - since))
        buckets: dict[int, list[Sample]] = {}
        for sample in samples:
            buckets.setdefault(int(sample[0] / BUCKET_S), []).append(sample)
        history = [{"at": key * BUCKET_S, **summary(part, BUCKET_S)} for key, part in sorted(buckets.items())]
        return wire.answer_json(200, history)

    def _metrics(self) -> str:
        with self._lock:
            lines = [f'users_payments_total{{outcome="{name}"}} {count}' for name, count in self._totals.items()]
            total = 0
            for bound, count in zip((*BOUNDS, "+Inf"), self._latency, strict=True):
                total += count
                lines.append(f'users_payment_seconds_bucket{{le="{bound}"}} {total}')
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wire.hold_lifeline()
    port, target, rate, users, duration = sys.argv[1:6]
    crowd = Users(int(target), float(rate), int(users), float(duration))
    server = wire.Server(int(port), crowd.handle)
    wire.wait_for_term()
    server.drain(0.2)

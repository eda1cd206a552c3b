"""The payment service, as it is deployed: copied to ``releases/<version>/service.py`` beside its modules.

``POST /pay`` prices a payment, has the bank authorise it and books it; ``GET /feed`` streams bookings;
``GET /health`` and ``GET /metrics``. It imports its neighbours by their plain names, because a release directory
stands alone. An authorisation whose booking failed lapses at the bank; the same payment id never books twice.

One bug is in every release: a feed whose reader hangs up keeps its database connection for ever.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator

sys.path[0] = os.path.dirname(os.path.realpath(__file__))  # `current` may move on; this process stays on its release

import ledger  # type: ignore[import-not-found]  # noqa: E402
import pricing  # type: ignore[import-not-found]  # noqa: E402
import wire  # type: ignore[import-not-found]  # noqa: E402

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0)
EX_CONFIG = 78
FEED_S = 2.0
FEED_EVERY_S = 0.05
SETTLE_EVERY_S = 0.5
SETTLE_BATCH = 20
TRUE_WORDS = (True, 1, "on", "open", "true", "yes")


class Flags:
    """Feature flags from a JSON file, read again when it changes; an unreadable file keeps the last known flags."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = -1
        self._flags: dict[str, object] = {}

    def on(self, name: str) -> bool:
        """Whether a flag is set."""
        try:
            changed = os.stat(self._path).st_mtime_ns
            if changed != self._seen:
                self._flags, self._seen = wire.read_config(self._path), changed
        except (OSError, ValueError):
            pass
        return self._flags.get(name) in TRUE_WORDS


class Meters:
    """Counters of this replica, written out in Prometheus' text format."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        self._latency = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self.counts = {"ledger_lock_timeouts": 0, "pool_timeouts": 0, "bank_errors": 0, "queued": 0}
        self._started = time.time()

    def add(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def observe(self, code: int, seconds: float) -> None:
        with self._lock:
            self._codes[code] = self._codes.get(code, 0) + 1
            self._latency[sum(seconds > bound for bound in BUCKETS)] += 1
            self._seconds += seconds

    def text(self, gauges: dict[str, float], version: str) -> str:
        with self._lock:
            lines = [f'payment_requests_total{{code="{code}"}} {n}' for code, n in sorted(self._codes.items())]
            total = 0
            for bound, count in zip((*BUCKETS, "+Inf"), self._latency, strict=True):
                total += count
                lines.append(f'payment_request_seconds_bucket{{le="{bound}"}} {total}')
            lines += [f"payment_request_seconds_sum {self._seconds:.6f}", f"payment_request_seconds_count {total}"]
            lines += [f"payment_{name}_total {count}" for name, count in self.counts.items()]
        lines += [f"payment_{name} {value}" for name, value in gauges.items()]
        lines += [f'payment_build_info{{version="{version}"}} 1']
        lines += [f"payment_start_time_seconds {self._started:.3f}"]
        return "\n".join(lines) + "\n"


class Service:
    """One replica."""

    def __init__(self, name: str, config: dict[str, object], version: str, log: str) -> None:
        number = {key: float(str(config[key])) for key in ("pool_wait_s", "ledger_busy_s", "bank_timeout_s")}
        self._version = version
        self._log = wire.Log(log, service="payment", replica=name, version=version)
        self._flags = Flags(str(config["flags"]))
        self._bank_port, self._bank_timeout = int(str(config["bank_port"])), number["bank_timeout_s"]
        self._pool = ledger.Pool(
            str(config["ledger"]), int(str(config["pool_size"])), number["pool_wait_s"], number["ledger_busy_s"]
        )
        self._ledger = ledger.Ledger(self._pool, name)
        self._meters = Meters()
        self._local = threading.local()
        threading.Thread(target=self._settle, daemon=True).start()
        self._log.line("info", "started", pid=os.getpid())

    def handle(self, request: wire.Request) -> wire.Answer:
        if request.path == "/pay" and request.method == "POST":
            began = time.monotonic()
            code, body = self._pay(request.body)
            self._meters.observe(code, time.monotonic() - began)
            return wire.answer_json(code, body)
        if request.path == "/health":
            return wire.answer_json(200, {"status": "ok", "version": self._version})
        if request.path == "/metrics":
            gauges = {
                "pool_in_use": self._pool.in_use,
                "pool_size": self._pool.size,
                "bank_breaker": int(self._flags.on("bank_breaker")),
            }
            return wire.Answer(200, self._meters.text(gauges, self._version).encode(), "text/plain; version=0.0.4")
        if request.path == "/feed":
            return wire.Answer(200, self._feed(), "application/x-ndjson")
        return wire.answer_json(404, {"error": "not found"})

    def _pay(self, body: bytes) -> tuple[int, dict[str, object]]:
        try:
            asked = json.loads(body)
            payment, account, cents = str(asked["id"]), int(asked["account"]), int(asked["cents"])
            currency = str(asked["currency"])
        except (ValueError, KeyError, TypeError) as error:
            return 400, {"error": f"not a payment: {error!r}"}
        try:
            fee = pricing.fee_cents(currency, cents)
            status = self._authorise(payment, cents + fee)
            self._ledger.book(payment, account, cents, currency, fee, status)
        except ledger.NoSuchAccount as error:
            return 400, {"error": str(error)}
        except ledger.PoolExhausted as error:
            return self._fail(503, "pool_timeouts", "pool_exhausted", payment, error)
        except ledger.LedgerLocked as error:
            return self._fail(503, "ledger_lock_timeouts", "ledger_locked", payment, error)
        except (OSError, ConnectionError) as error:
            return self._fail(502, "bank_errors", "bank_unreachable", payment, error)
        except Exception as error:  # a bug of the release: the user gets a 500, the log gets the reason
            self._log.line("error", "unhandled_exception", payment=payment, error=repr(error), currency=currency)
            return 500, {"error": "internal error"}
        self._log.line("info", "paid", payment=payment, cents=cents, currency=currency, status=status)
        return (200 if status == "settled" else 202), {"id": payment, "fee_cents": fee, "status": status}

    def _fail(self, code: int, meter: str, event: str, payment: str, error: Exception) -> tuple[int, dict[str, object]]:
        self._meters.add(meter)
        self._log.line("error", event, payment=payment, error=str(error), pool_in_use=self._pool.in_use)
        return code, {"error": event}

    def _authorise(self, payment: str, cents: int) -> str:
        """Ask the bank; with the breaker open, take the payment now and ask the bank later."""
        if self._flags.on("bank_breaker"):
            self._meters.add("queued")
            return "queued"
        bank = getattr(self._local, "bank", None)
        if bank is None:
            bank = self._local.bank = wire.Client(self._bank_port, self._bank_timeout)
        status, _ = bank.ask("POST", "/authorise", json.dumps({"id": payment, "cents": cents}).encode())
        if status != 200:
            raise ConnectionError(f"the bank answered {status}")
        return "settled"

    def _settle(self) -> None:
        """Bring queued payments to the bank once the breaker is closed again."""
        while True:
            time.sleep(SETTLE_EVERY_S)
            if self._flags.on("bank_breaker"):
                continue
            try:
                claimed = self._ledger.claim_queued(SETTLE_BATCH)
            except Exception as error:  # the pool or the ledger is in trouble; the next round tries again
                self._log.line("warning", "settlement_postponed", error=str(error))
                continue
            done, failed = [], []
            for payment, cents in claimed:
                try:
                    self._authorise(payment, cents)
                    done.append(payment)
                except OSError:
                    failed.append(payment)
            if claimed:
                self._ledger.mark(done, "settled")
                self._ledger.mark(failed, "queued")

    def _feed(self) -> Iterator[bytes]:
        connection = self._pool.take()
        last = time.time()
        end = last + FEED_S
        while time.time() < end:
            rows = connection.execute(
                "SELECT id, cents, booked_at FROM payments WHERE booked_at > ? ORDER BY booked_at LIMIT 50", (last,)
            ).fetchall()
            last = rows[-1][2] if rows else last
            yield b"".join(json.dumps(row[:2]).encode() + b"\n" for row in rows) or b"\n"
            time.sleep(FEED_EVERY_S)
        self._pool.give_back(connection)


def main() -> None:
    """``service.py NAME PORT SHARED_CONFIG LOG``: the shared configuration goes over the release's own."""
    name, port, shared, log = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    release = sys.path[0]
    wire.hold_lifeline()
    try:
        config = wire.read_config(os.path.join(release, "config.json")) | wire.read_config(shared)
        version = str(wire.read_config(os.path.join(release, "RELEASE.json"))["version"])
        service = Service(name, config, version, log)
    except (OSError, ValueError, KeyError) as error:
        wire.Log(log, service="payment", replica=name).line("fatal", "config_invalid", file=shared, error=str(error))
        wire.die(f"config_invalid: {error}", EX_CONFIG)
    server = wire.Server(port, service.handle)
    wire.wait_for_term()
    server.drain(1.0)


if __name__ == "__main__":
    main()

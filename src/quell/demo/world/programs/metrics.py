"""The scraper: reads everybody's ``/metrics``, derives what matters, keeps it, and watches the alert rules.

It answers the part of the Prometheus HTTP API that `series` supports, plus ``/api/v1/alerts`` and ``/-/ready``;
``PUT /-/webhook`` with a URL as body says where alerts go. Never scrapes anything but the addresses it was given,
and writes nothing to disk.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

from quell.demo.world.programs.alerts import Courier, Watch
from quell.demo.world.programs.series import History, Labels, answer_query, labels_of
from quell.demo.world.programs.wire import (
    Answer,
    Client,
    Request,
    Server,
    answer_json,
    hold_lifeline,
    read_config,
    wait_for_term,
)

WINDOW_ROUNDS = 2
PAGE_TIMEOUT_S = 0.5
Page = dict[str, float]
"""One scrape: the exposition line's name with its labels, and its value."""


def parse_page(text: str) -> Page:
    """The samples of a page in Prometheus' text format."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def p95(now: Page, before: Page) -> float | None:
    """The 95th percentile between two scrapes of the users' histogram, interpolated as Prometheus does."""
    prefix = 'users_payment_seconds_bucket{le="'
    buckets = [
        (float(name[len(prefix) : -2]), value - before.get(name, 0.0))
        for name, value in now.items()
        if name.startswith(prefix)
    ]
    buckets.sort()
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = 0.95 * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            inside = (rank - below) / (count - below) if count > below else 0.0
            return lower if bound == float("inf") else lower + (bound - lower) * inside
        lower, below = bound, count
    return lower


class Scraper:
    """One round every `scrape` seconds: replicas, users, bank."""

    def __init__(self, config: dict[str, object]) -> None:
        self._scrape = float(str(config["scrape"]))
        replicas, load, bank = config["replicas"], int(str(config["load"])), int(str(config["bank"]))
        if not isinstance(replicas, dict):
            raise ValueError("replicas: a map of name to port is needed")
        self._replicas = {str(name): Client(int(port), PAGE_TIMEOUT_S) for name, port in replicas.items()}
        self._load, self._bank = Client(load, PAGE_TIMEOUT_S), Client(bank, PAGE_TIMEOUT_S)
        self.history = History(lookback_s=max(5.0, 5 * self._scrape))
        self.courier = Courier()
        self.watch = Watch(self.history, self.courier, f"http://127.0.0.1:{config['port']}")
        self._users: deque[tuple[float, Page]] = deque(maxlen=WINDOW_ROUNDS + 1)
        self._counters: dict[str, deque[tuple[float, Page]]] = {}
        self.ready = False
        self._alerts: dict[Labels, float] = {}
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not all(self._page(client) for client in (*self._replicas.values(), self._load)):
            time.sleep(0.02)
        turn = time.monotonic()
        while True:
            now = time.time()
            self.history.record(now, {**self._round(now), **self._alerts})
            self._alerts = self.watch.look(now)
            self.ready = True
            turn = max(turn + self._scrape, time.monotonic())
            time.sleep(max(0.0, turn - time.monotonic()))

    @staticmethod
    def _page(client: Client) -> Page | None:
        try:
            status, text = client.ask("GET", "/metrics")
            return parse_page(text.decode()) if status == 200 else None
        except (OSError, ValueError):
            client.close()
            return None

    def _bank_up(self) -> bool:
        try:
            return self._bank.ask("GET", "/health")[0] == 200
        except OSError:
            self._bank.close()
            return False

    def _round(self, now: float) -> dict[Labels, float]:
        samples: dict[Labels, float] = {}
        pages = {name: self._page(client) for name, client in self._replicas.items()}
        bank_up = self._bank_up()
        for name, page in pages.items():
            samples[labels_of("payment_up", service="payment", replica=name)] = float(page is not None)
            if page is not None:
                samples |= self._replica(now, name, page)
        samples[labels_of("payment:replicas_up", service="payment")] = float(
            sum(page is not None for page in pages.values())
        )
        samples[labels_of("bank_up", service="bank")] = float(bank_up)
        exposed = any(page and not page.get("payment_bank_breaker") for page in pages.values())
        samples[labels_of("payment:waits_for_dead_bank", service="payment")] = float(exposed and not bank_up)
        return samples | self._as_users_see(now)

    def _replica(self, now: float, name: str, page: Page) -> dict[Labels, float]:
        def key(metric: str) -> Labels:
            return labels_of(metric, service="payment", replica=name)

        samples = {key(metric): value for metric, value in page.items() if "{" not in metric}
        samples |= {
            labels_of("payment_build_info", service="payment", replica=name, version=metric.split('"')[1]): value
            for metric, value in page.items()
            if metric.startswith("payment_build_info")
        }
        samples[key("payment:pool_used_ratio")] = page["payment_pool_in_use"] / page["payment_pool_size"]
        earlier = self._counters.setdefault(name, deque(maxlen=WINDOW_ROUNDS + 1))
        if earlier and earlier[-1][1]["payment_start_time_seconds"] != page["payment_start_time_seconds"]:
            earlier.clear()  # another process: its counters started from zero
        earlier.append((now, page))
        (then, before), elapsed = earlier[0], max(now - earlier[0][0], 1e-9)
        for meter in ("ledger_lock_timeouts", "pool_timeouts", "bank_errors", "queued"):
            counter = f"payment_{meter}_total"
            rate = (page[counter] - before[counter]) / elapsed if then < now else 0.0
            samples[key(f"payment:{meter}")] = rate
        return samples

    def _as_users_see(self, now: float) -> dict[Labels, float]:
        page = self._page(self._load)
        if page is None:
            return {}
        self._users.append((now, page))
        then, before = self._users[0]
        good, bad = (
            page[name] - before[name]
            for name in ('users_payments_total{outcome="ok"}', 'users_payments_total{outcome="failed"}')
        )
        if good + bad <= 0:
            return {}
        values: dict[str, float | None] = {
            "payment:success_rate": good / (good + bad),
            "payment:error_rate": bad / (good + bad),
            "payment:rps": (good + bad) / (now - then),
            "payment:p95_seconds": p95(page, before),
        }
        return {labels_of(name, service="payment"): value for name, value in values.items() if value is not None}

    def handle(self, request: Request) -> Answer:
        if request.path in ("/api/v1/query", "/api/v1/query_range"):
            return answer_query(self.history, request)
        if request.path == "/api/v1/alerts":
            return answer_json(200, {"status": "success", "data": {"alerts": self.watch.listing()}})
        if request.path in ("/-/ready", "/-/healthy"):
            return Answer(200 if self.ready else 503, b"", "text/plain")
        if request.path == "/-/webhook" and request.method == "PUT":
            try:
                self.courier.aim(request.body.decode())
            except ValueError as error:
                return answer_json(400, {"error": str(error)})
            self.watch.announce()
            return answer_json(200, {})
        return answer_json(404, {"error": "not found"})


if __name__ == "__main__":
    hold_lifeline()
    settings = read_config(sys.argv[1])
    scraper = Scraper(settings)
    server = Server(int(str(settings["port"])), scraper.handle)
    wait_for_term()
    server.drain(0.2)

"""Alert rules over the recorded series, and their delivery as Alertmanager webhook bodies (version 4).

A rule fires after its condition held for its ``for`` time, and is resolved at the first look at which it does not
hold. Bodies are delivered in order, again and again while the receiver is away or says 5xx, never out of order;
the newest `KEPT` wait, older ones are dropped.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable

from quell.demo.world.programs.series import History, Labels, labels_of
from quell.demo.world.programs.wire import Client, stamp

KEPT = 200
RETRY_S = (0.1, 0.2, 0.5, 1.0)
NEVER = "0001-01-01T00:00:00Z"


class Rule:
    """Compares every series of one metric with a number; one that holds is enough.

    ``rounds`` is the ``for``, in scrapes; ``query`` is the condition as it stands in a URL.
    """

    def __init__(self, name: str, metric: str, operator: str, limit: float, rounds: int, severity: str, text: str):
        self.name, self.metric, self.operator, self.limit = name, metric, operator, limit
        self.rounds, self.severity, self.text = rounds, severity, text
        expr = f"{metric} {operator} {limit:g}"
        self.query = "".join(char if char.isalnum() or char in "_.:" else f"%{ord(char):02X}" for char in expr)

    def holds(self, history: History) -> float | None:
        """The offending value, or None."""
        values = history.latest(self.metric).values()
        test: Callable[[float], bool] = {
            ">": lambda value: value > self.limit,
            ">=": lambda value: value >= self.limit,
            "<": lambda value: value < self.limit,
            "==": lambda value: value == self.limit,
        }[self.operator]
        return next((value for value in values if test(value)), None)


# Nearer to the cause first: what fires in the same round is told in this order.
RULES = (
    Rule("PaymentReplicasDown", "payment:replicas_up", "<", 2, 4, "critical", "fewer than two payment replicas are up"),
    Rule("PaymentErrorsHigh", "payment:error_rate", ">", 0.05, 4, "critical", "more than 5 % of payments fail"),
    Rule("PaymentLatencyHigh", "payment:p95_seconds", ">", 0.25, 4, "warning", "payments are slow (p95 over 250 ms)"),
    Rule("PaymentPoolExhausted", "payment:pool_used_ratio", ">=", 1, 2, "critical", "a connection pool is exhausted"),
    Rule(
        "LedgerLocked", "payment:ledger_lock_timeouts", ">", 0, 2, "critical", "payments time out on the ledger's lock"
    ),
    Rule("BankDown", "payment:waits_for_dead_bank", "==", 1, 2, "critical", "the bank is down and payments need it"),
)


def fingerprint(labels: dict[str, str]) -> str:
    """FNV-1a over the sorted labels, as Prometheus' ``model.LabelSet`` computes it."""
    value = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


class Courier:
    """Delivers bodies to one URL, in order, from a thread of its own."""

    def __init__(self) -> None:
        self._bodies: deque[dict[str, object]] = deque(maxlen=KEPT)
        self._changed = threading.Condition()
        self._target: tuple[int, str] | None = None
        threading.Thread(target=self._deliver, daemon=True).start()

    def aim(self, url: str) -> None:
        """Deliver to ``http://127.0.0.1:PORT/path`` from now on; an empty URL delivers nowhere."""
        target = None
        if url:
            place, _, path = url.removeprefix("http://").partition("/")
            host, _, port = place.partition(":")
            if host not in ("127.0.0.1", "localhost") or not port.isdigit():
                raise ValueError("the webhook must be http://127.0.0.1:PORT/path")
            target = (int(port), f"/{path}")
        with self._changed:
            self._target = target
            self._bodies.clear()
            self._changed.notify()

    def send(self, body: dict[str, object]) -> None:
        """Queue a body."""
        with self._changed:
            if self._target is not None:
                self._bodies.append(body)
                self._changed.notify()

    def _deliver(self) -> None:
        tries = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._target and self._bodies))
                (port, path), body = self._target or (0, ""), self._bodies[0]
            client = Client(port, 5.0)
            try:
                accepted = client.ask("POST", path, json.dumps(body).encode())[0] < 500
            except OSError:
                accepted = False
            client.close()
            if not accepted:
                time.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries = 0 if accepted else tries + 1
            with self._changed:
                if accepted and self._bodies and self._bodies[0] is body:
                    self._bodies.popleft()


class Alarm:
    """The state of one rule."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.since: float | None = None
        self.rounds = 0
        self.firing_since: float | None = None
        self.value = 0.0


class Watch:
    """Evaluates the rules after every scrape and tells the courier about changes."""

    def __init__(self, history: History, courier: Courier, api_url: str) -> None:
        self._history, self._courier, self._api_url = history, courier, api_url
        self._alarms = [Alarm(rule) for rule in RULES]

    def look(self, now: float) -> dict[Labels, float]:
        """One evaluation; the ``ALERTS`` samples of it."""
        samples: dict[Labels, float] = {}
        for alarm in self._alarms:
            value = alarm.rule.holds(self._history)
            if value is None:
                if alarm.firing_since is not None:
                    self._courier.send(self._body(alarm, ended=now))
                alarm.since, alarm.rounds, alarm.firing_since = None, 0, None
                continue
            alarm.since, alarm.value = alarm.since or now, value
            alarm.rounds += 1
            if alarm.firing_since is None and alarm.rounds > alarm.rule.rounds:
                alarm.firing_since = now
                self._courier.send(self._body(alarm))
            state = "pending" if alarm.firing_since is None else "firing"
            samples[labels_of("ALERTS", alertname=alarm.rule.name, alertstate=state, service="payment")] = 1.0
        return samples

    def announce(self) -> None:
        """Send what fires now, for a receiver that has just been named."""
        for alarm in self._alarms:
            if alarm.firing_since is not None:
                self._courier.send(self._body(alarm))

    def listing(self) -> list[dict[str, object]]:
        """Pending and firing alerts as ``/api/v1/alerts`` shows them."""
        return [
            {
                "labels": self._labels(alarm.rule),
                "annotations": {"summary": alarm.rule.text},
                "state": "pending" if alarm.firing_since is None else "firing",
                "activeAt": stamp(alarm.since),
                "value": f"{alarm.value:e}",
            }
            for alarm in self._alarms
            if alarm.since is not None
        ]

    @staticmethod
    def _labels(rule: Rule) -> dict[str, str]:
        return {
            "alertname": rule.name,
            "service": "payment",
            "severity": rule.severity,
            "environment": "demo",
            "region": "local",
        }

    def _body(self, alarm: Alarm, ended: float | None = None) -> dict[str, object]:
        labels = self._labels(alarm.rule)
        status = "firing" if ended is None else "resolved"
        annotations = {"summary": alarm.rule.text, "value": f"{alarm.value:g}"}
        alert = {
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": stamp(alarm.since),
            "endsAt": NEVER if ended is None else stamp(ended),
            "generatorURL": f"{self._api_url}/graph?g0.expr={alarm.rule.query}&g0.tab=1",
            "fingerprint": fingerprint(labels),
        }
        return {
            "version": "4",
            "groupKey": f'{{}}:{{alertname="{alarm.rule.name}", service="payment"}}',
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "quell",
            "groupLabels": {"alertname": alarm.rule.name, "service": "payment"},
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": self._api_url,
            "alerts": [alert],
        }

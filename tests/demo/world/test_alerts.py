"""Alert rules and the delivery of webhook bodies."""

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

from quell.demo.world.programs.alerts import RULES, Courier, Watch, fingerprint
from quell.demo.world.programs.series import History, labels_of
from quell.demo.world.programs.wire import Answer, Request, Server


class Receiver:
    """Answers what it is told to, first `refusals`, then 200."""

    def __init__(self, refusals: list[int]) -> None:
        self.refusals, self.bodies, self.tries = refusals, [], 0
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Answer:
        with self._lock:
            self.tries += 1
            if self.refusals:
                return Answer(self.refusals.pop(0))
            self.bodies.append(json.loads(request.body))
        return Answer(200)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def poll(condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def look(watch: Watch, history: History, at: float, error_rate: float) -> dict[tuple[tuple[str, str], ...], float]:
    history.record(at, {labels_of("payment:error_rate", service="payment"): error_rate})
    return watch.look(at)


def states(watch: Watch) -> dict[str, str]:
    return {str(one["labels"]["alertname"]): str(one["state"]) for one in watch.listing()}  # type: ignore[index]


def test_an_alert_is_pending_then_fires_then_is_resolved(port: int) -> None:
    receiver = Receiver([])
    server = Server(port, receiver.handle)
    history, courier = History(lookback_s=60), Courier()
    courier.aim(f"http://127.0.0.1:{port}/hook")
    watch = Watch(history, courier, "http://127.0.0.1:1")
    now = time.time()
    for step in range(4):
        look(watch, history, now - 10 + step, 0.4)
        assert states(watch) == {"PaymentErrorsHigh": "pending"}
    samples = look(watch, history, now - 6, 0.4)
    assert states(watch) == {"PaymentErrorsHigh": "firing"}
    assert list(samples) == [labels_of("ALERTS", alertname="PaymentErrorsHigh", alertstate="firing", service="payment")]
    look(watch, history, now - 5, 0.4)
    look(watch, history, now - 4, 0.0)
    assert states(watch) == {}
    poll(lambda: len(receiver.bodies) == 2, "one body each")
    server.drain(1.0)
    firing, resolved = receiver.bodies
    assert (firing["version"], firing["status"], firing["groupLabels"]["alertname"]) == (
        "4",
        "firing",
        "PaymentErrorsHigh",
    )
    alert = firing["alerts"][0]
    assert set(alert) == {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"}
    assert set(alert["labels"]) == {"alertname", "service", "severity", "environment", "region"}
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert resolved["status"] == resolved["alerts"][0]["status"] == "resolved"
    assert resolved["alerts"][0]["startsAt"] == alert["startsAt"] < resolved["alerts"][0]["endsAt"]
    assert resolved["groupKey"] == firing["groupKey"]
    assert resolved["alerts"][0]["fingerprint"] == alert["fingerprint"] == fingerprint(alert["labels"])


def test_a_short_dip_does_not_fire() -> None:
    history, courier = History(lookback_s=60), Courier()
    watch = Watch(history, courier, "http://127.0.0.1:1")
    now = time.time()
    for step, rate in enumerate([0.4, 0.4, 0.4, 0.0, 0.4, 0.4, 0.4]):
        look(watch, history, now - 10 + step, rate)
        assert "firing" not in states(watch).values()


def test_delivery_goes_on_after_5xx_and_keeps_the_order(port: int) -> None:
    courier = Courier()
    courier.aim(f"http://127.0.0.1:{port}/hook")
    courier.send({"number": 1})
    courier.send({"number": 2})
    receiver = Receiver([503, 500])  # and before that, nobody listens at all
    server = Server(port, receiver.handle)
    poll(lambda: len(receiver.bodies) == 2, "both arrive")
    server.drain(1.0)
    assert receiver.bodies == [{"number": 1}, {"number": 2}]
    assert receiver.tries == 4


def test_a_4xx_is_not_tried_again(port: int) -> None:
    receiver = Receiver([400])
    server = Server(port, receiver.handle)
    courier = Courier()
    courier.aim(f"http://127.0.0.1:{port}/hook")
    courier.send({"number": 1})
    courier.send({"number": 2})
    poll(lambda: receiver.bodies == [{"number": 2}], "the second arrives")
    server.drain(1.0)
    assert receiver.tries == 2


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/x", "http://example.org:80/x", "http://127.0.0.1/x"])
def test_only_loopback_is_alerted(url: str) -> None:
    with pytest.raises(ValueError, match="webhook"):
        Courier().aim(url)


def test_fingerprints_are_those_of_prometheus() -> None:
    # model.LabelSet{}.Fingerprint() is the offset of FNV-1a.
    assert fingerprint({}) == "cbf29ce484222325"
    assert len({fingerprint({"alertname": rule.name}) for rule in RULES}) == len(RULES)
    assert fingerprint({"a": "bc"}) != fingerprint({"ab": "c"})

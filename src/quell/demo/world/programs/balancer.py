"""The balancer: the one address users know, in front of the replicas, round robin.

A payment is sent to one replica and never sent twice. Only when a replica refuses the connection, so that nothing
was sent, the next one is tried; with none left it waits a moment, as long as one was up a moment ago.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time

from quell.demo.world.programs import wire

UPSTREAM_TIMEOUT_S = 2.0
PATIENCE_S = 0.5
LOOK_DOWN_S = 0.05
LOOK_UP_S = 1.0


class Replica:
    """One upstream: whether it is up, its idle connections, and what it answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.up = False
        self.last_up = 0.0
        self._idle: list[wire.Client] = []
        self._lost = threading.Event()

    def forward(self, request: wire.Request) -> tuple[int, bytes]:
        """Pass a request on over an idle or a new connection."""
        try:
            client = self._idle.pop()
        except IndexError:
            client = wire.Client(self.port, UPSTREAM_TIMEOUT_S)
        answer = client.ask(request.method, request.path, request.body)
        self._idle.append(client)
        return answer

    def mark(self, up: bool) -> None:
        """Note what traffic or a health check has found; a loss is looked into at once."""
        self.up = up
        if up:
            self.last_up = time.monotonic()
            self._lost.clear()
        else:
            self._lost.set()

    def watch(self) -> None:
        """Ask for its health for ever: seldom while it is up, often while it is down."""
        while True:
            client = wire.Client(self.port, UPSTREAM_TIMEOUT_S)
            try:
                self.mark(client.ask("GET", "/health")[0] == 200)
            except OSError:
                self.mark(False)
            client.close()
            if not self.up:
                time.sleep(LOOK_DOWN_S)
            else:
                self._lost.wait(LOOK_UP_S)


class Balancer:
    """Chooses replicas and counts what it answered."""

    def __init__(self, ports: list[int]) -> None:
        self._replicas = [Replica(port) for port in ports]
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        for replica in self._replicas:
            threading.Thread(target=replica.watch, daemon=True).start()

    def handle(self, request: wire.Request) -> wire.Answer:
        if request.path == "/balancer/metrics":
            return wire.Answer(200, self._metrics().encode(), "text/plain; version=0.0.4")
        code, body = self._pass_on(request)
        with self._lock:
            self._codes[code] = self._codes.get(code, 0) + 1
        return wire.Answer(code, body)

    def _pass_on(self, request: wire.Request) -> tuple[int, bytes]:
        while True:
            turn = next(self._turn) % len(self._replicas)
            for replica in self._replicas[turn:] + self._replicas[:turn]:
                if not replica.up:
                    continue
                try:
                    answer = replica.forward(request)
                except wire.Unconnected:
                    replica.mark(False)
                    continue
                except TimeoutError:
                    return 504, b'{"error": "the replica did not answer in time"}'
                except OSError:
                    return 502, b'{"error": "the replica broke off"}'
                replica.last_up = time.monotonic()
                return answer
            if time.monotonic() - max(replica.last_up for replica in self._replicas) > PATIENCE_S:
                return 503, b'{"error": "no replica is up"}'
            time.sleep(0.02)

    def _metrics(self) -> str:
        with self._lock:
            lines = [f'balancer_answers_total{{code="{code}"}} {n}' for code, n in sorted(self._codes.items())]
        lines += [f'balancer_replica_up{{port="{replica.port}"}} {int(replica.up)}' for replica in self._replicas]
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wire.hold_lifeline()
    server = wire.Server(int(sys.argv[1]), Balancer([int(port) for port in sys.argv[2:]]).handle)
    wire.wait_for_term()
    server.drain(0.2)

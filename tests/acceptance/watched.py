"""A real Prometheus with its rules and a real Alertmanager behind it, ready to notice: both are waited for.

Never injects anything: what happens to the targets is the test's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.servers.alertmanager import Alertmanager
from tests.servers.process import wait_until
from tests.servers.prometheus import Prometheus

RULES = Path(__file__).parent / "rules"
INTERVAL = 0.2


@contextlib.contextmanager
def watched(target: str, rules: str, webhook: str) -> Iterator[Prometheus]:
    """Prometheus scraping `target` under `rules/<rules>`, its alerts posted to `webhook` by Alertmanager.

    The first samples and the first Alertmanager are there when the context is entered, not before: Prometheus takes
    up to 5 s for each.
    """
    with (
        Alertmanager(webhook, group_wait=0.1, group_interval=0.4) as alertmanager,
        Prometheus(
            [target], rules=(RULES / rules).read_text(), alertmanager=alertmanager.address, interval=INTERVAL
        ) as prometheus,
    ):
        wait_until(lambda: prometheus.value("min(up)") == 1, "a scrape", 15)
        wait_until(lambda: _knows(prometheus), "the Alertmanager in Prometheus", 15)
        yield prometheus


def _knows(prometheus: Prometheus) -> bool:
    answer = httpx.get(f"{prometheus.url}/api/v1/alertmanagers", timeout=5).raise_for_status()
    return bool(answer.json()["data"]["activeAlertmanagers"])

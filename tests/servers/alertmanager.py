"""A real Alertmanager on loopback, without cluster, that posts what it groups to one webhook.

Never waits as long as one in production: the group timers are fractions of a second.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import yaml

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, locate


class Alertmanager(Server):
    """Posts to `webhook` (an address); without one it keeps its alerts to itself.

    `group_wait` and `group_interval` are seconds; `headers` cannot be set, as the real one cannot either,
    but `authorization` is (`scheme credentials`). `pagerduty`: the keys of a `pagerduty_configs`, to page that way.
    """

    def __init__(
        self,
        webhook: str | None = None,
        *,
        group_by: Sequence[str] = ("alertname",),
        group_wait: float = 0.1,
        group_interval: float = 0.5,
        repeat_interval: float = 3600.0,
        authorization: str | None = None,
        pagerduty: Mapping[str, Any] | None = None,
    ) -> None:
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{self.address}"
        self._webhook = webhook
        self._authorization = authorization
        self._pagerduty = pagerduty
        self._route = {
            "receiver": "quell",
            "group_by": list(group_by),
            "group_wait": f"{round(group_wait * 1000)}ms",
            "group_interval": f"{round(group_interval * 1000)}ms",
            "repeat_interval": f"{round(repeat_interval * 1000)}ms",
        }

    def prepare(self) -> None:
        receiver: dict[str, Any] = {"name": "quell"}
        if self._webhook:
            hook: dict[str, Any] = {"url": self._webhook, "send_resolved": True}
            if self._authorization:
                scheme, _, credentials = self._authorization.partition(" ")
                hook["http_config"] = {"authorization": {"type": scheme, "credentials": credentials}}
            receiver["webhook_configs"] = [hook]
        if self._pagerduty:
            receiver["pagerduty_configs"] = [{"send_resolved": True, **self._pagerduty}]
        configuration = {"route": self._route, "receivers": [receiver]}
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration))

    def argv(self) -> list[str]:
        return [
            locate("prometheus-alertmanager", "prometheus-alertmanager"),
            f"--config.file={self.folder}/alertmanager.yml",
            f"--storage.path={self.folder}/data",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=1).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Hand alerts in, as Prometheus does: `labels`, `annotations`, `startsAt`, `endsAt` (API v2)."""
        httpx.post(f"{self.url}/api/v2/alerts", json=list(alerts), timeout=10).raise_for_status()

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it holds as active now."""
        answer = httpx.get(f"{self.url}/api/v2/alerts", params={"active": "true"}, timeout=10)
        answer.raise_for_status()
        result: list[dict[str, Any]] = answer.json()
        return result

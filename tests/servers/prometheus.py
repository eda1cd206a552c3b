"""A real Prometheus on loopback: scrapes what the test names, evaluates its rules, tells its Alertmanager.

Never keeps data: the time series go with the temporary folder.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import yaml

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, locate


class Prometheus(Server):
    """`targets` are `host:port` of one scrape job; `rules` is the text of a rule file.

    `alertmanager` is `host:port`, `reached` what else its configuration says (`path_prefix`, `authorization`);
    `interval` (seconds) is both the scrape and the evaluation interval.
    Prometheus applies targets and Alertmanagers, at the start and after a reload, once in 5 s: the first
    samples and the first notification come that late. An alert whose rule is removed is not resolved.
    """

    def __init__(
        self,
        targets: Sequence[str] = (),
        *,
        rules: str = "",
        alertmanager: str | None = None,
        reached: Mapping[str, Any] | None = None,
        interval: float = 0.2,
        job: str = "test",
        flags: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{self.address}"
        self._targets = list(targets)
        self._rules = rules
        self._alertmanager = alertmanager
        self._reached = dict(reached or {})
        self._interval = f"{round(interval * 1000)}ms"
        self._job = job
        self._flags = list(flags)

    def prepare(self) -> None:
        (self.folder / "rules.yml").write_text(self._rules or "groups: []\n")
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(self._configuration()))

    def argv(self) -> list[str]:
        return [
            locate("prometheus", "prometheus"),
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",
            "--web.enable-lifecycle",
            "--log.level=warn",
            *self._flags,
        ]

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=1).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def reload(self, *, rules: str | None = None, targets: Sequence[str] | None = None) -> None:
        """Change rules or targets of the running server. Raises httpx.HTTPStatusError on bad rules."""
        self._rules = self._rules if rules is None else rules
        self._targets = self._targets if targets is None else list(targets)
        self.prepare()
        httpx.post(f"{self.url}/-/reload", timeout=10).raise_for_status()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query now: `metric` and `value` of each series."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        answer.raise_for_status()
        data = answer.json()["data"]
        if data["resultType"] in ("scalar", "string"):
            return [{"metric": {}, "value": data["result"]}]
        result: list[dict[str, Any]] = data["result"]
        return result

    def value(self, expression: str) -> float | None:
        """The value of the first series of an instant query; None when there is none."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else None

    def firing(self) -> set[str]:
        """The names of the alerts that fire now, as Prometheus sees them."""
        answer = httpx.get(f"{self.url}/api/v1/alerts", timeout=10)
        answer.raise_for_status()
        alerts = answer.json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _configuration(self) -> dict[str, Any]:
        configuration: dict[str, Any] = {
            "global": {
                "scrape_interval": self._interval,
                "scrape_timeout": self._interval,
                "evaluation_interval": self._interval,
            },
            "rule_files": [f"{self.folder}/rules.yml"],
            "scrape_configs": [{"job_name": self._job, "static_configs": [{"targets": self._targets}]}],
        }
        if self._alertmanager:
            targets = {"static_configs": [{"targets": [self._alertmanager]}], **self._reached}
            configuration["alerting"] = {"alertmanagers": [targets]}
        return configuration

"""A bad image in a cluster: alert, evidence, rollback by the Kubernetes driver, verified by replicas that are ready.

The API server is a fake that the real kubectl works with; kubectl deploys the fault and has the last word on what was
done. Alertmanager and Quell are real processes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quell.incident.event import EventKind as Kind
from quell.incident.incident import Status
from tests.acceptance.quell import Quell, in_order, only, story
from tests.fakes.kubernetes import FakeKubernetes
from tests.servers.alertmanager import Alertmanager
from tests.servers.process import locate, wait_until

ALERT = {"alertname": "PaymentReplicasMissing", "service": "payment", "severity": "critical"}
RUNBOOK = """
id: payment-bad-image
severity: P1
service: payment
triggers: [{type: alert, alert_name: PaymentReplicasMissing}]
diagnostics:
- id: ready
  name: Ready replicas
  type: shell_command
  config: {command: [KUBECTL, get, deployment, payment, -o, 'jsonpath={.status.readyReplicas}']}
  timeout: 10s
  interpret: {healthy: value >= 3, warning: value < 3, critical: value < 2}
- id: deploy
  type: deployments
  config: {service: payment}
  timeout: 10s
  interpret: {healthy: age > 60m, warning: age <= 60m}
decision_tree:
- {condition: ready.critical && deploy.warning, then: [roll_back]}
- {otherwise: true, then: [page]}
remediations:
- id: roll_back
  type: automated
  precondition: deploy.previous.exists
  action: {type: rollback, config: {service: payment, to: '${deploy.previous}', ready_within: 20s}}
  undo: none
- {id: page, type: escalate, description: Replicas are missing and no deploy is to blame}
verify: {signals: [trigger, ready], stable_for: 1s, within: 15s}
escalation: {primary: 'pagerduty:payments', escalate_after_minutes: 10}
"""


class Cluster:
    """The fake and the real kubectl on it."""

    def __init__(self, fake: FakeKubernetes, folder: Path) -> None:
        self.fake = fake
        self.command = [locate("kubectl", "kubernetes-client"), "--server", fake.url, "--cache-dir", str(folder)]

    def kubectl(self, *words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        done = subprocess.run(
            [*self.command, *words], capture_output=True, text=True, timeout=60, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def history(self) -> list[str]:
        """The revisions that `kubectl rollout history` lists, oldest first."""
        lines = self.kubectl("rollout", "history", "deployment/payment").splitlines()[2:]
        return [line.split()[0] for line in lines if line.strip()]

    def ready(self) -> int:
        return int(self.kubectl("get", "deployment", "payment", "-o", "jsonpath={.status.readyReplicas}") or 0)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Revision 3 of the Deployment `payment` is bad: its pods crash, one of the second revision still serves."""
    with FakeKubernetes() as fake:
        cluster = Cluster(fake, tmp_path / "kubectl")
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 2}}
        fake.add_deployment("payment", "shop/payment:1", replicas=3, strategy=rolling)
        wait_until(lambda: fake.settled("payment"), "the first revision")
        cluster.kubectl("set", "image", "deployment/payment", "app=shop/payment:2")
        wait_until(lambda: fake.settled("payment"), "the second revision")
        fake.set_health("shop/payment:3", "crash")
        cluster.kubectl("set", "image", "deployment/payment", "app=shop/payment:3")
        wait_until(lambda: cluster.ready() == 1, "the bad image")
        yield cluster


def quell_for(cluster: Cluster, quell: Quell) -> Quell:
    driver = {"type": "kubernetes", "deployment": "payment", "url": cluster.fake.url}
    command = ", ".join(f"'{word}'" for word in cluster.command)
    settings = {"services": {"payment": {"owner": "payments", "drivers": [driver]}}}
    return quell.configured(settings, {"payment.yaml": RUNBOOK.replace("KUBECTL", command)})


def test_bad_image_is_undone(cluster: Cluster) -> None:
    assert cluster.history() == ["1", "2", "3"]
    began = datetime.now(UTC).isoformat()
    quell = Quell()
    with Alertmanager(quell.webhook) as alertmanager, quell_for(cluster, quell):
        alertmanager.post([{"labels": ALERT, "startsAt": began}])
        incident = quell.opens()
        quell.told(incident, Kind.VERIFICATION_STARTED)
        wait_until(lambda: cluster.ready() == 3, "the old image", 15)
        alertmanager.post([{"labels": ALERT, "startsAt": began, "endsAt": datetime.now(UTC).isoformat()}])
        ended = quell.ends(incident)
        log = quell.timeline(incident)
        assert (ended.status, ended.outcome, ended.verdict) == (Status.RESOLVED, "resolved", "recovered"), story(log)

        # kubectl agrees: the second revision came back as the fourth, and the rollout is complete.
        assert cluster.history() == ["1", "3", "4"]
        assert "shop/payment:2" in cluster.kubectl("rollout", "history", "deployment/payment", "--revision=4")
        assert "successfully rolled out" in cluster.kubectl("rollout", "status", "deployment/payment", "--timeout=5s")
        _reads_right(quell, incident)


def _reads_right(quell: Quell, incident: str) -> None:
    log = quell.timeline(incident)
    findings = {
        one.payload["finding"]["check"]: one.payload["finding"] for one in log if one.kind is Kind.CHECK_FINISHED
    }
    assert (findings["ready"]["status"], findings["ready"]["facts"]["value"]) == ("critical", 1)
    deploy = findings["deploy"]["facts"]
    assert (deploy["version"], deploy["previous"]["version"]) == ("shop/payment:3", "shop/payment:2")
    intended = only(log, Kind.ACTION_INTENDED, action="rollback")
    assert intended.payload["call"] == "roll back payment from shop/payment:3 to shop/payment:2"
    rolled = only(log, Kind.ACTION_FINISHED, action="rollback", result="done")
    told = only(log, Kind.VERIFICATION_FINISHED, verdict="recovered")
    assert (told.payload["signals"]["ready"]["before"], told.payload["signals"]["ready"]["now"]) == (
        "critical",
        "healthy",
    )
    assert in_order(
        only(log, Kind.OPENED, source="alertmanager", service="payment"), only(log, Kind.DECIDED), intended, rolled,
        only(log, Kind.ALERT_RESOLVED), told, only(log, Kind.RESOLVED), only(log, Kind.RUN_ENDED),
    )  # fmt: skip
    assert quell.faults() == []

"""Drivers: a Kubernetes API that tells states and rights, and drivers that cannot be reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor.house import of, report, said
from tests.fakes.kubernetes import FakeKubernetes
from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import wait_until


def test_what_the_account_may_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBE_TOKEN", "let-me-in")
    with FakeKubernetes(token="let-me-in") as cluster:
        cluster.add_deployment("payment", "shop/payment:1", replicas=2)
        wait_until(lambda: cluster.settled("payment"), "the rollout")
        driver = {"type": "kubernetes", "deployment": "payment", "url": cluster.url, "token": "env:KUBE_TOKEN"}
        before = [one["metadata"]["resourceVersion"] for one in cluster.objects("deployments")]
        for verb, plural in (("delete", "deployments"), ("delete", "pods"), ("get", "secrets")):
            cluster.forbid(verb, plural)
        cluster.forbid("patch", "deployments/scale")
        told = report(tmp_path, services={"payment": {"driver": driver}, "plain": {}})
        assert [one["metadata"]["resourceVersion"] for one in cluster.objects("deployments")] == before
    assert said(told, "driver", "service payment")[0] == ("ok", "2 of 2 ready, version shop/payment:1")
    assert said(told, "rights", "service payment") == [
        ("warning", "the account may not patch deployments/scale"),
        ("warning", "the account may create pods/exec"),
    ]
    assert said(told, "driver", "service plain")[0][0] == "ok"


def test_drivers_that_cannot_tell(tmp_path: Path) -> None:
    told = report(
        tmp_path,
        services={
            "away": {"driver": {"type": "kubernetes", "deployment": "a", "url": f"http://{LOOPBACK}:{free_port()}"}},
            "typo": {"driver": {"type": "kubernets"}},
            "bare": {"driver": {"type": "kubernetes"}},
            "half": {"driver": {"type": "releases", "folder": "/nowhere"}},
        },
    )
    assert {str(one.level) for one in of(told, "driver")} == {"error"}
    assert "connection refused" in said(told, "driver", "away")[0][1]
    assert "did you mean 'kubernetes'?" in said(told, "driver", "typo")[0][1]
    assert "deployment" in said(told, "driver", "bare")[0][1]
    assert not of(told, "rights")

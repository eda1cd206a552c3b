"""The fake kube-apiserver driven by the real kubectl: the commands that an operator types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.kubectl import KUBECTL, Kubectl
from tests.fakes.kubernetes import FakeKubernetes

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


def revisions(kubectl: Kubectl) -> list[str]:
    lines = kubectl.ok("rollout", "history", "deployment/web").splitlines()[2:]
    return [line.split()[0] for line in lines if line.strip()]


def pod(k8s: FakeKubernetes) -> str:
    return str(k8s.objects("pods")[0]["metadata"]["name"])


def test_get_prints_tables_json_yaml_and_paths(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    head, row = kubectl.ok("get", "deploy").splitlines()
    assert head.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:4] == ["web", "3/3", "3", "3"]
    wide = kubectl.ok("get", "rs,po", "-o", "wide")
    assert "shop:1" in wide
    assert wide.count("Running") == 3
    assert len(json.loads(kubectl.ok("get", "pods", "-o", "json"))["items"]) == 3
    assert "kind: Deployment" in kubectl.ok("get", "deployment", "web", "-o", "yaml")
    assert kubectl.ok("get", "deploy", "web", "-o", "jsonpath={.status.readyReplicas}") == "3"
    chosen = kubectl.ok("get", "po", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name")
    assert len(chosen.splitlines()) == 3
    assert "replicaset.apps/web-" in kubectl.ok("get", "all")
    assert "kube-system" in kubectl.ok("get", "ns")


def test_rollout_restart_replaces_the_pods(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    old = {p["metadata"]["name"] for p in k8s.objects("pods")}
    assert "restarted" in kubectl.ok("rollout", "restart", "deployment/web")
    assert "successfully rolled out" in kubectl.ok("rollout", "status", "deployment/web", "--timeout=20s")
    k8s.wait_for(lambda: k8s.settled("web"))
    assert not old & {p["metadata"]["name"] for p in k8s.objects("pods")}
    (patch,) = [r for r in k8s.requests if r.method == "PATCH"]
    assert patch.headers["content-type"] == "application/strategic-merge-patch+json"


def test_undo_takes_the_old_replicaset_under_a_new_revision(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    for image in ("shop:2", "shop:3"):
        kubectl.ok("set", "image", "deployment/web", f"app={image}")
        kubectl.ok("rollout", "status", "deployment/web", "--timeout=20s")
    assert revisions(kubectl) == ["1", "2", "3"]
    assert "rolled back" in kubectl.ok("rollout", "undo", "deployment/web")
    kubectl.ok("rollout", "status", "deployment/web", "--timeout=20s")
    assert revisions(kubectl) == ["1", "3", "4"]
    assert "shop:2" in kubectl.ok("rollout", "history", "deployment/web", "--revision=4")
    kubectl.ok("rollout", "undo", "deployment/web", "--to-revision=1")
    k8s.wait_for(lambda: k8s.settled("web"))
    assert revisions(kubectl) == ["3", "4", "5"]
    assert len(k8s.objects("replicasets")) == 3
    assert k8s.objects("pods")[0]["spec"]["containers"][0]["image"] == "shop:1"


def test_a_bad_rollout_fails_its_status(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    k8s.set_health("shop:bad", "crash")
    k8s.controller.progress_deadline_s = 0.3
    kubectl.ok("set", "image", "deployment/web", "app=shop:bad")
    status = kubectl.run("rollout", "status", "deployment/web", "--timeout=20s")
    assert status.returncode == 1
    assert "exceeded its progress deadline" in status.stderr
    assert "CrashLoopBackOff" in kubectl.ok("get", "pods")
    events = kubectl.ok("get", "events", "--field-selector=type=Warning")
    assert "Back-off restarting failed container" in events
    described = kubectl.ok("describe", "deployment", "web")
    assert "ProgressDeadlineExceeded" in described
    assert "Scaled up replica set" in described


def test_pause_and_resume(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    kubectl.ok("rollout", "pause", "deployment/web")
    kubectl.ok("set", "image", "deployment/web", "app=shop:2")
    k8s.wait_for(lambda: "DeploymentPaused" in kubectl.ok("get", "deploy", "web", "-o", "yaml"))
    assert len(k8s.objects("replicasets")) == 1
    kubectl.ok("rollout", "resume", "deployment/web")
    k8s.wait_for(lambda: k8s.settled("web"))
    assert len(k8s.objects("replicasets")) == 2


def test_scale_with_and_without_a_condition(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    kubectl.ok("scale", "deployment/web", "--replicas=5")
    k8s.wait_for(lambda: k8s.settled("web"))
    refused = kubectl.run("scale", "deployment/web", "--replicas=1", "--current-replicas=9")
    assert refused.returncode == 1
    kubectl.ok("scale", "deployment/web", "--replicas=0", "--current-replicas=5")
    k8s.wait_for(lambda: k8s.settled("web"))
    assert kubectl.ok("get", "deploy", "web", "-o", "jsonpath={.status.readyReplicas}") == ""
    kubectl.ok("scale", "deployment/web", "--replicas=2", "--dry-run=server")
    assert k8s.cluster.get("deployments", "default", "web")["spec"]["replicas"] == 0  # type: ignore[index]


def test_logs_of_a_pod_and_of_a_deployment(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    k8s.write_log(pod(k8s), "first", "second")
    assert kubectl.ok("logs", pod(k8s), "--tail=1") == "second\n"
    assert kubectl.ok("logs", "deployment/web", "--tail=1").strip() in ("second", "starting shop:1")
    missing = kubectl.run("logs", pod(k8s), "-c", "nope")
    assert missing.returncode == 1


def test_delete_waits_until_the_pod_is_gone(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    name = pod(k8s)
    assert "deleted" in kubectl.ok("delete", "pod", name)
    assert k8s.cluster.get("pods", "default", name) is None
    k8s.wait_for(lambda: k8s.settled("web"))
    kubectl.ok("delete", "pod", pod(k8s), "--now")
    assert "Name:" in kubectl.ok("describe", "pod", pod(k8s))
    kubectl.ok("delete", "deployment", "web")
    k8s.wait_for(lambda: not k8s.objects("pods"))


def test_apply_creates_and_changes(k8s: FakeKubernetes, kubectl: Kubectl, tmp_path: Path) -> None:
    document = json.loads(kubectl.ok("get", "deploy", "web", "-o", "json"))
    document["metadata"] = {"name": "copy", "namespace": "default"}
    del document["status"]
    manifest = tmp_path / "copy.json"
    for replicas, word in ((1, "created"), (2, "configured"), (2, "unchanged")):
        document["spec"]["replicas"] = replicas
        manifest.write_text(json.dumps(document))
        assert word in kubectl.ok("apply", "--validate=false", "-f", str(manifest))
    assert k8s.cluster.get("deployments", "default", "copy")["spec"]["replicas"] == 2  # type: ignore[index]


def test_errors_are_printed_as_kubectl_prints_them(k8s: FakeKubernetes, kubectl: Kubectl) -> None:
    missing = kubectl.run("get", "deploy", "nope")
    assert missing.returncode == 1
    assert missing.stderr.strip() == 'Error from server (NotFound): deployments.apps "nope" not found'
    k8s.forbid("patch", "deployments")
    refused = kubectl.run("rollout", "restart", "deployment/web")
    assert refused.returncode == 1
    assert "Forbidden" in refused.stderr or "forbidden" in refused.stderr


def test_without_the_token_nothing_is_answered(tmp_path: Path) -> None:
    # kubectl sends no token over plain HTTP, even when told to: the good case is tested without it.
    with FakeKubernetes(token="sesame") as k8s:
        refused = Kubectl(k8s.url, tmp_path).run("get", "deploy", "--token=sesame")
        assert refused.returncode == 1
        assert "must be logged in" in refused.stderr
        assert not any("authorization" in r.headers for r in k8s.requests)

"""What the fake cluster does: rollouts, bad images, crashes, replacement, undo, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.fakes.kubernetes import FakeKubernetes

APPS = "/apis/apps/v1/namespaces/default"
CORE = "/api/v1/namespaces/default"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


def set_image(api: httpx.Client, image: str, **params: str) -> httpx.Response:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    return api.patch(f"{APPS}/deployments/web", params=params, headers=STRATEGIC, content=json.dumps(patch))


def web(api: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = api.get(f"{APPS}/deployments/web").json()
    return document


def condition(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(c for c in document["status"]["conditions"] if c["type"] == kind)


def images(k8s: FakeKubernetes) -> set[str]:
    return {p["spec"]["containers"][0]["image"] for p in k8s.objects("pods")}


def test_a_settled_deployment_has_full_counts_and_owned_pods(k8s: FakeKubernetes, api: httpx.Client) -> None:
    document = web(api)
    status = document["status"]
    assert {k: v for k, v in status.items() if k.endswith("eplicas")} == {
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "availableReplicas": 3,
    }
    assert condition(document, "Available")["status"] == "True"
    assert condition(document, "Progressing")["reason"] == "NewReplicaSetAvailable"
    (rs,) = k8s.objects("replicasets")
    mark = rs["metadata"]["labels"]["pod-template-hash"]
    for pod in k8s.objects("pods"):
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": mark}
        assert pod["metadata"]["ownerReferences"][0]["uid"] == rs["metadata"]["uid"]


def test_a_rollout_replaces_all_pods_and_never_drops_below_the_minimum(k8s: FakeKubernetes, api: httpx.Client) -> None:
    old = {p["metadata"]["uid"] for p in k8s.objects("pods")}
    assert set_image(api, "shop:2").json()["metadata"]["generation"] == 2
    available = []

    def done() -> bool:
        available.append(web(api)["status"].get("availableReplicas", 0))
        return k8s.settled("web")

    k8s.wait_for(done)
    assert min(available) >= 3  # 25 % of three, rounded down, may be missing: none
    assert images(k8s) == {"shop:2"}
    assert not old & {p["metadata"]["uid"] for p in k8s.objects("pods")}
    assert web(api)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


@pytest.mark.parametrize(
    ("health", "shown"),
    [("crash", "CrashLoopBackOff"), ("pull_error", "ImagePullBackOff"), ("not_ready", "Running")],
)
def test_a_bad_image_never_becomes_ready_and_the_old_pods_stay(
    k8s: FakeKubernetes, api: httpx.Client, health: Any, shown: str
) -> None:
    k8s.set_health("shop:bad", health)
    k8s.controller.progress_deadline_s = 0.2
    set_image(api, "shop:bad")
    k8s.wait_for(lambda: condition(web(api), "Progressing")["reason"] == "ProgressDeadlineExceeded")
    status = web(api)["status"]
    assert (status["readyReplicas"], status["updatedReplicas"], status["unavailableReplicas"]) == (3, 1, 1)
    (bad,) = [p for p in k8s.objects("pods") if p["spec"]["containers"][0]["image"] == "shop:bad"]
    state = bad["status"]["containerStatuses"][0]["state"]
    assert state.get("waiting", {}).get("reason", bad["status"]["phase"]) == shown
    assert {c["type"]: c["status"] for c in bad["status"]["conditions"]}["Ready"] == "False"


def test_an_image_that_turns_bad_takes_running_pods_down_and_counts_of_zero_are_left_out(
    k8s: FakeKubernetes, api: httpx.Client
) -> None:
    k8s.set_health("shop:1", "not_ready")
    k8s.wait_for(lambda: condition(web(api), "Available")["status"] == "False")
    k8s.wait_for(lambda: "readyReplicas" not in web(api)["status"])
    assert web(api)["status"]["unavailableReplicas"] == 3
    k8s.set_health("shop:1", "healthy")
    k8s.wait_for(lambda: k8s.settled("web"))


def test_a_crashing_pod_counts_restarts_and_keeps_the_previous_log(k8s: FakeKubernetes, api: httpx.Client) -> None:
    k8s.kubelet.crash_every_s = 0.02
    name = k8s.objects("pods")[0]["metadata"]["name"]
    k8s.set_image_log("shop:1", "boom")
    assert api.get(f"{CORE}/pods/{name}/log?previous=true").status_code == 400
    k8s.set_pod_health(name, "crash")

    def restarts() -> int:
        return int(api.get(f"{CORE}/pods/{name}").json()["status"]["containerStatuses"][0]["restartCount"])

    k8s.wait_for(lambda: restarts() >= 3)
    assert api.get(f"{CORE}/pods/{name}/log?previous=true").text == "boom\n"
    assert web(api)["status"]["readyReplicas"] == 2


def test_a_deleted_pod_is_replaced_under_another_name(k8s: FakeKubernetes, api: httpx.Client) -> None:
    name = k8s.objects("pods")[0]["metadata"]["name"]
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 30}
    answer = api.request("DELETE", f"{CORE}/pods/{name}", json=body)
    assert "deletionTimestamp" in answer.json()["metadata"]
    k8s.wait_for(lambda: api.get(f"{CORE}/pods/{name}").status_code == 404)
    k8s.wait_for(lambda: k8s.settled("web"))


def test_undo_by_hand_gives_an_old_replicaset_a_new_revision(k8s: FakeKubernetes, api: httpx.Client) -> None:
    first = k8s.objects("replicasets")[0]
    for image in ("shop:2", "shop:3"):
        set_image(api, image)
        k8s.wait_for(lambda: k8s.settled("web"))
    template = first["spec"]["template"]
    del template["metadata"]["labels"]["pod-template-hash"]
    patch = [{"op": "replace", "path": "/spec/template", "value": template}]
    assert api.patch(f"{APPS}/deployments/web", headers=JSON_PATCH, content=json.dumps(patch)).status_code == 200
    k8s.wait_for(lambda: k8s.settled("web"))
    by_name = {rs["metadata"]["name"]: rs["metadata"]["annotations"] for rs in k8s.objects("replicasets")}
    revisions = sorted(a["deployment.kubernetes.io/revision"] for a in by_name.values())
    assert revisions == ["2", "3", "4"]
    assert by_name[first["metadata"]["name"]]["deployment.kubernetes.io/revision-history"] == "1"


def test_recreate_takes_all_down_first_and_history_is_limited(k8s: FakeKubernetes, api: httpx.Client) -> None:
    k8s.add_deployment("db", "pg:1", replicas=2, strategy={"type": "Recreate"}, revisionHistoryLimit=1)
    k8s.wait_for(lambda: k8s.settled("db"))
    together = []
    for image in ("pg:2", "pg:3"):
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
        api.patch(f"{APPS}/deployments/db", headers=STRATEGIC, content=json.dumps(patch))

        def done() -> bool:
            mine = [p for p in k8s.objects("pods") if p["metadata"]["labels"]["app"] == "db"]
            together.append(len({p["spec"]["containers"][0]["image"] for p in mine}))
            return k8s.settled("db")

        k8s.wait_for(done)
    assert max(together) == 1
    owned = [rs for rs in k8s.objects("replicasets") if rs["metadata"]["name"].startswith("db-")]
    assert len(owned) == 2


def test_a_frozen_controller_stores_and_does_nothing(k8s: FakeKubernetes, api: httpx.Client) -> None:
    k8s.freeze()
    generation = set_image(api, "shop:2").json()["metadata"]["generation"]
    assert web(api)["status"]["observedGeneration"] == generation - 1
    assert len(k8s.objects("replicasets")) == 1
    k8s.freeze(False)
    k8s.wait_for(lambda: k8s.settled("web"))

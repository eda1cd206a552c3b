"""The Kubernetes driver against a fake API that the real kubectl drives as well, and what both leave behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.fleet import Fleet
from quell.plugins.drivers import kubernetes
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.serving import Fault
from tests.plugins.drivers.shop_cluster import TOKEN, TOKEN_VARIABLE, drive, kubectl, shop_cluster
from tests.servers.ports import free_port
from tests.servers.process import wait_until


@pytest.fixture(autouse=True)
def _token() -> Iterator[None]:
    os.environ[TOKEN_VARIABLE] = TOKEN
    yield
    del os.environ[TOKEN_VARIABLE]


@pytest.fixture
def cluster() -> Iterator[FakeKubernetes]:
    with shop_cluster() as fake:
        yield fake


def template(fake: FakeKubernetes) -> dict[str, Any]:
    (deployment,) = (one for one in fake.objects("deployments") if one["metadata"]["name"] == "payment")
    found: dict[str, Any] = deployment["spec"]["template"]
    return found


def image(fake: FakeKubernetes) -> str:
    return str(template(fake)["spec"]["containers"][0]["image"])


def test_state_is_the_deployment_and_its_own_pods(cluster: FakeKubernetes) -> None:
    # A stranger's pods carry the same labels: only what our ReplicaSets own counts.
    cluster.add_deployment("stranger", "other:1", replicas=2)
    wait_until(lambda: cluster.settled("stranger"), "the stranger")
    with cluster.cluster.changed:
        for (kind, _, name), pod in list(cluster.cluster.objects.items()):
            if kind == "pods" and name.startswith("stranger"):
                pod["metadata"]["labels"] = {"app": "payment"}
    state = drive(cluster, lambda driver: driver.state())
    assert (state.desired, state.ready, len(state.replicas)) == (3, 3, 3)
    assert (state.version, state.rolling, state.stuck) == ("shop/payment:3", False, False)
    assert {one.version for one in state.replicas} == {"shop/payment:3"}
    assert all(one.since is not None and one.name.startswith("payment-") for one in state.replicas)
    assert state.details["revision"] == 3


def test_rights_are_what_the_api_says_and_asking_changes_nothing(cluster: FakeKubernetes) -> None:
    cluster.forbid("patch", "deployments/scale")
    cluster.forbid("delete", "deployments")
    before = cluster.objects("deployments")
    rights = {right.name: (right.granted, right.needed_for) for right in drive(cluster, lambda driver: driver.rights())}
    assert cluster.objects("deployments") == before
    assert rights["get deployments"] == (True, "state")
    assert rights["patch deployments"] == (True, "restart and rollback")
    assert rights["patch deployments/scale"] == (False, "scale")
    assert rights["delete deployments"] == (False, "")
    assert rights["get secrets"] == (True, "")


def test_state_says_why_a_pod_is_not_ready(cluster: FakeKubernetes) -> None:
    cluster.set_health("shop/payment:4", "crash")
    kubectl(cluster, "set", "image", "deployment/payment", "app=shop/payment:4")

    def crashed() -> bool:
        found = drive(cluster, lambda driver: driver.state())
        return any("CrashLoopBackOff" in one.note for one in found.replicas if not one.ready)

    wait_until(crashed, "a crash loop")
    state = drive(cluster, lambda driver: driver.state())
    assert state.rolling
    sick = next(one for one in state.replicas if not one.ready)
    assert "restarts" in sick.note
    assert sick.version == "shop/payment:4"


def test_a_rollout_past_its_deadline_is_stuck_and_no_longer_rolling() -> None:
    with FakeKubernetes() as fake:
        fake.add_deployment("payment", "shop/payment:1", replicas=2, progressDeadlineSeconds=1)
        wait_until(lambda: fake.settled("payment"), "first revision")
        fake.set_health("shop/payment:2", "not_ready")
        kubectl(fake, "set", "image", "deployment/payment", "app=shop/payment:2")
        wait_until(lambda: drive(fake, lambda driver: driver.state()).stuck, "the deadline")
        state = drive(fake, lambda driver: driver.state())
        assert (state.rolling, state.ready >= 2) == (False, True)
        # Enough old pods are ready, and still nobody may call it done.
        with pytest.raises(Permanent, match="stuck"):
            drive(fake, lambda driver: Fleet("payment", [driver]).scale(3, ready_within_s=5))


def test_restart_leaves_what_kubectl_leaves(cluster: FakeKubernetes) -> None:
    kubectl(cluster, "rollout", "restart", "deployment/payment")
    by_kubectl = template(cluster)
    wait_until(lambda: cluster.settled("payment"), "kubectl's restart")
    before = {pod["metadata"]["name"] for pod in cluster.objects("pods")}

    drive(cluster, lambda driver: Fleet("payment", [driver]).restart(ready_within_s=30))
    by_driver = template(cluster)
    assert by_kubectl["metadata"]["annotations"].keys() == by_driver["metadata"]["annotations"].keys()
    assert by_kubectl["spec"] == by_driver["spec"]
    # The fleet came back only when no old pod was needed any more.
    assert drive(cluster, lambda driver: driver.state()).ready == 3
    wait_until(lambda: not before & {pod["metadata"]["name"] for pod in cluster.objects("pods")}, "new pods")


def test_scale_is_what_kubectl_reads(cluster: FakeKubernetes) -> None:
    said = drive(cluster, lambda driver: driver.scale(5))
    assert said == "deployment default/payment scaled from 3 to 5"
    assert kubectl(cluster, "get", "deployment", "payment", "-o", "jsonpath={.spec.replicas}") == "5"
    patch = next(request for request in reversed(cluster.requests) if request.method == "PATCH")
    assert patch.path.endswith("/deployments/payment/scale")
    assert patch.headers["content-type"] == "application/merge-patch+json"


def test_releases_are_the_revisions_that_kubectl_lists(cluster: FakeKubernetes) -> None:
    kubectl(cluster, "annotate", "deployment/payment", "kubernetes.io/change-cause=ticket 7")
    kubectl(cluster, "set", "image", "deployment/payment", "app=shop/payment:4")
    wait_until(lambda: cluster.settled("payment"), "revision 4")
    releases = drive(cluster, lambda driver: driver.releases())
    history = kubectl(cluster, "rollout", "history", "deployment/payment")
    listed = [line.split()[0] for line in history.splitlines() if line[:1].isdecimal()]
    assert [one.note.split()[1].rstrip(":") for one in releases] == listed
    assert [one.version for one in releases] == [f"shop/payment:{tag}" for tag in (1, 2, 3, 4)]
    assert [one.current for one in releases] == [False, False, False, True]
    assert releases[-1].note == "revision 4: ticket 7"
    assert all(one.at is not None for one in releases)


@pytest.mark.parametrize("to", ["shop/payment:2", "2"])
def test_rollback_leaves_what_kubectl_undo_leaves(cluster: FakeKubernetes, to: str) -> None:
    said = drive(cluster, lambda driver: Fleet("payment", [driver]).rollback(to, ready_within_s=30))
    assert said == ["deployment default/payment rolled back to revision 2 (shop/payment:2)"]
    by_driver = template(cluster)
    assert "pod-template-hash" not in by_driver["metadata"]["labels"]
    kubectl(cluster, "rollout", "undo", "deployment/payment", "--to-revision=3")
    kubectl(cluster, "rollout", "undo", "deployment/payment", "--to-revision=4")
    by_kubectl = template(cluster)
    for container in by_kubectl["spec"]["containers"]:
        # kubectl is written in Go and sends the empty value; a real server stores it either way.
        assert container.pop("resources") == {}
    assert by_kubectl == by_driver


def test_after_a_rollback_no_release_is_the_previous_one(cluster: FakeKubernetes) -> None:
    for age, one in zip((3000, 2000, 1000), _by_revision(cluster), strict=True):
        cluster.backdate("replicasets", one["metadata"]["name"], age)
    drive(cluster, lambda driver: Fleet("payment", [driver]).rollback("2", ready_within_s=30))
    with pytest.raises(Permanent, match="rolled back to already"):
        drive(cluster, lambda driver: Fleet("payment", [driver]).previous())
    current = next(one for one in drive(cluster, lambda driver: driver.releases()) if one.current)
    assert current.version == "shop/payment:2"
    assert current.live_since is not None
    assert current.came_back
    assert current.at is not None
    # It is 2000 s old and live since a moment ago.
    assert (current.live_since - current.at).total_seconds() > 1000


def _by_revision(fake: FakeKubernetes) -> list[dict[str, Any]]:
    return sorted(
        fake.objects("replicasets"),
        key=lambda one: int(one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]),
    )


def test_revisions_of_one_image_are_told_apart(cluster: FakeKubernetes) -> None:
    kubectl(cluster, "rollout", "restart", "deployment/payment")
    wait_until(lambda: cluster.settled("payment"), "revision 4")
    versions = [one.version for one in drive(cluster, lambda driver: driver.releases())]
    assert versions == ["shop/payment:1", "shop/payment:2", "shop/payment:3#3", "shop/payment:3#4"]
    assert drive(cluster, lambda driver: driver.state()).version == "shop/payment:3#4"
    with pytest.raises(Permanent) as failure:
        drive(cluster, lambda driver: driver.rollback("shop/payment:3"))
    assert failure.value.error_class == "ambiguous"
    assert "revision 3" in drive(cluster, lambda driver: driver.rollback("shop/payment:3#3"))


def test_somebody_who_changes_it_meanwhile_wins(cluster: FakeKubernetes) -> None:
    # Between our LIST of ReplicaSets and our PATCH, somebody else changes the Deployment.
    cluster.inject(Fault.slow(1.0, method="GET", path="/replicasets"))

    async def act(driver: kubernetes.Kubernetes) -> str:
        task = asyncio.create_task(driver.rollback("1"))
        async with asyncio.timeout(10):
            while not any("/replicasets" in request.path for request in cluster.requests[seen:]):
                await asyncio.sleep(0.005)
        await asyncio.to_thread(kubectl, cluster, "annotate", "deployment/payment", "touched=yes")
        return await task

    seen = len(cluster.requests)
    with pytest.raises(Transient) as failure:
        drive(cluster, act)
    assert failure.value.error_class == "busy"
    assert image(cluster) == "shop/payment:3"


@pytest.mark.parametrize(
    "act",
    [
        lambda driver: driver.restart(dry_run=True),
        lambda driver: driver.scale(9, dry_run=True),
        lambda driver: driver.rollback("1", dry_run=True),
    ],
)
def test_a_dry_run_asks_and_changes_nothing(
    cluster: FakeKubernetes, act: Callable[[kubernetes.Kubernetes], Awaitable[str]]
) -> None:
    (before,) = cluster.objects("deployments")
    assert drive(cluster, act)
    (after,) = cluster.objects("deployments")
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    assert [request.arg("dryRun") for request in cluster.requests if request.method == "PATCH"][-1] == "All"


def test_rollback_to_the_current_release_changes_nothing(cluster: FakeKubernetes) -> None:
    patches = sum(request.method == "PATCH" for request in cluster.requests)
    assert "already" in drive(cluster, lambda driver: driver.rollback("shop/payment:3"))
    assert sum(request.method == "PATCH" for request in cluster.requests) == patches


def test_a_paused_deployment_is_left_alone(cluster: FakeKubernetes) -> None:
    kubectl(cluster, "rollout", "pause", "deployment/payment")
    for act in (lambda one: one.restart(), lambda one: one.rollback("1")):
        with pytest.raises(Permanent, match="paused") as failure:
            drive(cluster, act)
        assert failure.value.error_class == "denied"


@pytest.mark.parametrize(
    ("fault", "error", "error_class"),
    [
        (Fault.refuse(403), Permanent, "denied"),
        (Fault.refuse(404), Permanent, "missing"),
        (Fault.refuse(409), Transient, "busy"),
        (Fault.refuse(422), Permanent, "invalid"),
        (Fault.refuse(500), Transient, "lost"),
        (Fault.refuse(503), Transient, "busy"),
        (Fault.cut(), Transient, "lost"),
        (Fault.cut(midway=True), Transient, "lost"),
        (Fault.malformed(), Permanent, "invalid"),
        (Fault.malformed(b"[]"), Permanent, "invalid"),
    ],
)
def test_failures_have_a_class(cluster: FakeKubernetes, fault: Fault, error: type[Exception], error_class: str) -> None:
    cluster.inject(fault)
    with pytest.raises(error) as failure:
        drive(cluster, lambda driver: driver.state())
    assert getattr(failure.value, "error_class", None) == error_class
    assert TOKEN not in str(failure.value)


def test_too_many_requests_says_when_to_come_back(cluster: FakeKubernetes) -> None:
    cluster.inject(Fault.refuse(429, retry_after=7))
    with pytest.raises(Transient) as failure:
        drive(cluster, lambda driver: driver.state())
    assert (failure.value.error_class, failure.value.retry_after) == ("busy", 7.0)


def test_what_the_role_does_not_allow_is_denied(cluster: FakeKubernetes) -> None:
    cluster.forbid("patch", "deployments/scale")
    with pytest.raises(Permanent, match="forbidden") as failure:
        drive(cluster, lambda driver: driver.scale(4))
    assert failure.value.error_class == "denied"


@pytest.mark.parametrize(
    ("config", "error", "error_class"),
    [
        ({"deployment": "paymnt"}, Permanent, "missing"),
        ({"namespace": "elsewhere"}, Permanent, "missing"),
        ({"token": "env:QUELL_TEST_UNSET"}, Permanent, "missing"),
        ({"url": f"http://127.0.0.1:{free_port()}"}, Transient, "refused"),
        ({"ca": "/nowhere/ca.crt"}, Permanent, "missing"),
        ({"url": None, "kubeconfig": "/nowhere/config"}, Permanent, "missing"),
        ({"url": None}, Permanent, "missing"),
    ],
)
def test_what_is_not_there(
    cluster: FakeKubernetes, config: dict[str, Any], error: type[Exception], error_class: str
) -> None:
    with pytest.raises(error) as failure:
        drive(cluster, lambda driver: driver.state(), **config)
    assert getattr(failure.value, "error_class", None) == error_class


def test_the_token_opens_the_door() -> None:
    with FakeKubernetes(TOKEN) as fake:
        fake.add_deployment("payment", "shop/payment:1")
        assert drive(fake, lambda driver: driver.state()).desired == 1
        with pytest.raises(Permanent) as failure:
            drive(fake, lambda driver: driver.state(), token=None)
        assert failure.value.error_class == "denied"


@pytest.mark.parametrize(("to", "error_class"), [("9", "missing"), ("", "missing"), ("shop/payment:3#1", "missing")])
def test_an_unknown_release_names_the_known(cluster: FakeKubernetes, to: str, error_class: str) -> None:
    with pytest.raises(Permanent, match="shop/payment:1, shop/payment:2") as failure:
        drive(cluster, lambda driver: driver.rollback(to))
    assert failure.value.error_class == error_class


@pytest.mark.parametrize("to", [-1, 11])
def test_scale_outside_its_bounds_is_denied(cluster: FakeKubernetes, to: int) -> None:
    with pytest.raises(Permanent) as failure:
        drive(cluster, lambda driver: driver.scale(to), max_replicas=10)
    assert failure.value.error_class == "denied"


def test_one_pod_alone_is_not_restarted_and_nothing_is_drained(cluster: FakeKubernetes) -> None:
    for act in (lambda one: one.restart(["payment-x"]), lambda one: one.drain("payment-x")):
        with pytest.raises(Permanent) as failure:
            drive(cluster, act)
        assert failure.value.error_class == "denied"


@pytest.mark.parametrize(
    "wrong",
    [
        {"deployment": "Pay ment"},
        {"deployment": "../secrets"},
        {"namespace": "a/b"},
        {"url": "http://x", "kubeconfig": "/y"},
        {"url": "file:///etc"},
        {"deploymnt": "x"},
    ],
)
def test_a_wrong_config_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        kubernetes.Config.model_validate({"deployment": "payment", **wrong})

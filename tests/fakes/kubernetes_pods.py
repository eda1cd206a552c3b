"""The kubelet of the fake cluster: what becomes of a pod, its containers, its logs and its events.

A pod's fate is a function of its age and of the health that a test gave its images (or the pod itself),
looked at again in every pass; so an image can turn bad under running pods, and good again. It never
starts a process, and it never decides how many pods there are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.kubernetes_state import Cluster, Object, timestamp

Health = Literal["healthy", "not_ready", "crash", "pull_error"]


@dataclass
class Life:
    """What must be remembered of one pod. Monotonic seconds, except the wall-clock strings."""

    born: float
    number: int
    started: str | None = None
    ready_since: float | None = None
    ready_changed: str = field(default_factory=timestamp)
    crashing_since: float | None = None
    restarts: int = 0
    dying_since: float | None = None
    log: list[tuple[float, str]] = field(default_factory=list)
    previous_log: list[tuple[float, str]] = field(default_factory=list)


class Kubelet:
    """One node that runs every pod. All methods are called with the cluster's lock held."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.ready_after_s = 0.05
        self.grace_s = 0.05
        self.crash_every_s = 0.2
        self.image_health: dict[str, Health] = {}
        self.pod_health: dict[str, Health] = {}
        self.image_log: dict[str, list[str]] = {}
        self.lives: dict[str, Life] = {}
        self._born = 0

    def life(self, pod: Object) -> Life:
        """The memory of this pod, by uid."""
        uid = pod["metadata"]["uid"]
        if uid not in self.lives:
            self._born += 1
            self.lives[uid] = Life(time.monotonic(), self._born)
        return self.lives[uid]

    def available(self, pod: Object, min_ready_s: float) -> bool:
        """Ready for at least `min_ready_s`."""
        since = self.life(pod).ready_since
        return since is not None and time.monotonic() - since >= min_ready_s

    def run(self, pod: Object) -> None:
        """One look at one pod: start, ready, crash, end."""
        life, now = self.life(pod), time.monotonic()
        meta = pod["metadata"]
        if "deletionTimestamp" in meta:
            if life.dying_since is None:
                life.dying_since = now
                self.event(pod, "Normal", "Killing", f"Stopping container {_first(pod)['name']}")
            if now - life.dying_since >= self.grace_s:
                self.cluster.drop("pods", meta["namespace"], meta["name"])
            return
        status = self._status(pod, life, now)
        if status != pod.get("status"):
            node = f"node-{life.number % 3 + 1}"
            self.cluster.write("pods", {**pod, "spec": {"nodeName": node, **pod["spec"]}, "status": status})

    def _status(self, pod: Object, life: Life, now: float) -> Object:
        age = now - life.born
        if age < self.ready_after_s / 2:
            waiting = [_container(c, {"waiting": {"reason": "ContainerCreating"}}) for c in _all(pod)]
            return self._assembled(pod, life, "Pending", waiting)
        containers = [self._container(pod, c, life, now) for c in _all(pod)]
        started = life.started is not None
        return self._assembled(pod, life, "Running" if started else "Pending", containers)

    def _container(self, pod: Object, container: Object, life: Life, now: float) -> Object:
        health = self.pod_health.get(pod["metadata"]["name"], self.image_health.get(container["image"], "healthy"))
        if health == "pull_error" and life.started is None:
            return self._not_pulled(pod, container, now - life.born)
        if life.started is None:
            self._start(pod, life)
        if health == "crash":
            return self._crashed(pod, container, life, now)
        life.crashing_since = None
        old = {"lastState": _terminated(life)} if life.restarts else {}
        ready = health == "healthy" and now - life.born >= self.ready_after_s
        if health == "not_ready":
            why = "Readiness probe failed: HTTP probe failed with statuscode: 503"
            self.event(pod, "Warning", "Unhealthy", why)
        state = {"running": {"startedAt": life.started}}
        return _container(container, state, ready=ready, restartCount=life.restarts, **old)

    def _start(self, pod: Object, life: Life) -> None:
        life.started = timestamp()
        self.event(pod, "Normal", "Started", f"Started container {_first(pod)['name']}")
        self._log_start(pod, life)

    def _log_start(self, pod: Object, life: Life) -> None:
        for line in self.image_log.get(_first(pod)["image"], [f"starting {_first(pod)['image']}"]):
            life.log.append((time.time(), line))

    def _not_pulled(self, pod: Object, container: Object, age: float) -> Object:
        image = container["image"]
        reason = "ErrImagePull" if age < self.ready_after_s else "ImagePullBackOff"
        said = {
            "ErrImagePull": f'failed to pull and unpack image "{image}": not found',
            "ImagePullBackOff": f'Back-off pulling image "{image}"',
        }[reason]
        self.event(pod, "Warning", "Failed" if reason == "ErrImagePull" else "BackOff", said)
        return _container(container, {"waiting": {"reason": reason, "message": said}})

    def _crashed(self, pod: Object, container: Object, life: Life, now: float) -> Object:
        if life.crashing_since is None:
            life.crashing_since = now - life.restarts * self.crash_every_s
        restarts = int((now - life.crashing_since) / self.crash_every_s)
        if restarts > life.restarts or life.restarts == 0:
            life.previous_log, life.log = life.log, []
            self._log_start(pod, life)
            life.restarts = max(restarts, 1)
            said = f"Back-off restarting failed container {container['name']} in pod {pod['metadata']['name']}"
            self.event(pod, "Warning", "BackOff", said, again=True)
        waiting = {
            "reason": "CrashLoopBackOff",
            "message": f"back-off 10s restarting failed container={container['name']}",
        }
        last = _terminated(life)
        return _container(container, {"waiting": waiting}, restartCount=life.restarts, lastState=last)

    def _assembled(self, pod: Object, life: Life, phase: str, containers: list[Object]) -> Object:
        ready = all(c["ready"] for c in containers)
        if ready != (life.ready_since is not None):
            life.ready_since = time.monotonic() if ready else None
            life.ready_changed = timestamp()
        created = pod["metadata"]["creationTimestamp"]
        broken = {} if ready else {"reason": "ContainersNotReady", "message": _unready(containers)}
        conditions = [
            {"type": "Initialized", "status": "True", "lastTransitionTime": created},
            {"type": "Ready", "status": str(ready), "lastTransitionTime": life.ready_changed, **broken},
            {"type": "ContainersReady", "status": str(ready), "lastTransitionTime": life.ready_changed, **broken},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": created},
        ]
        status: Object = {"phase": phase, "conditions": conditions, "hostIP": "10.0.0.1"}
        if phase == "Running":
            ip = f"10.1.{life.number // 250}.{life.number % 250 + 1}"
            status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        return {**status, "startTime": created, "containerStatuses": containers, "qosClass": "BestEffort"}

    def event(self, about: Object, kind: str, reason: str, message: str, *, again: bool = False) -> None:
        """Record a core/v1 Event; the same words about the same object raise its count if `again`."""
        meta = about["metadata"]
        mark = (meta["uid"], reason, message)
        for key, old in self.cluster.objects.items():
            if key[0] == "events" and (old["involvedObject"]["uid"], old["reason"], old["message"]) == mark:
                if again:
                    changed = {**old, "count": old["count"] + 1, "lastTimestamp": timestamp()}
                    self.cluster.write("events", changed)
                return
        component = "kubelet" if about["kind"] == "Pod" else f"{about['kind'].lower()}-controller"
        involved = {
            "kind": about["kind"],
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "apiVersion": about["apiVersion"],
            "resourceVersion": meta["resourceVersion"],
        }
        name = f"{meta['name']}.{self.cluster.revision + 1:x}"
        document = {
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "type": kind,
            "count": 1,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": "",
        }
        self.cluster.add("events", document)


def _all(pod: Object) -> list[Object]:
    containers: list[Object] = pod["spec"]["containers"]
    return containers


def _first(pod: Object) -> Object:
    return _all(pod)[0]


def _unready(containers: list[Object]) -> str:
    names = " ".join(c["name"] for c in containers if not c["ready"])
    return f"containers with unready status: [{names}]"


def _terminated(life: Life) -> Object:
    return {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": life.started, "finishedAt": life.started}}


def _container(container: Object, state: Object, *, ready: bool = False, **more: Any) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": ready,
        "started": "running" in state,
        "restartCount": 0,
        "state": state,
        "lastState": {},
        **more,
    }

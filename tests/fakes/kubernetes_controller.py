"""The controllers of the fake cluster: Deployments make ReplicaSets, ReplicaSets make pods.

The arithmetic is the real one (surge and unavailable, progress deadline, revisions that move when an old
ReplicaSet is used again), so what a client sees in the middle of a rollout is what it would see on a real
cluster, only faster. Status counts that are zero are left out, as the real API leaves them out.
"""

from __future__ import annotations

import copy
import threading
import time
from typing import Any

from tests.fakes.kubernetes_pods import Kubelet
from tests.fakes.kubernetes_state import Cluster, Object, timestamp
from tests.fakes.kubernetes_workloads import (
    HASH,
    HISTORY,
    OWN_ANNOTATIONS,
    REVISION,
    active,
    condition,
    dated,
    hash_of,
    key_of,
    last_revision,
    limits,
    name_of,
    nonzero,
    orphaned,
    owner_of,
    pod_of,
    reference,
    revision_of,
    template_hash,
)


class Controller:
    """Walks the cluster every few milliseconds until told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kubelet = Kubelet(cluster)
        self.frozen = False
        self.progress_deadline_s: float | None = None
        self._progress: dict[str, tuple[Any, float]] = {}

    def run(self, stopping: threading.Event) -> None:
        """The loop of the controller's thread."""
        while not stopping.is_set():
            with self.cluster.changed:
                if not self.frozen:
                    self.look()
                self.cluster.changed.wait(0.02)

    def look(self) -> None:
        """One pass over everything, top down."""
        for deployment in self._all("deployments"):
            self._deployment(deployment)
        for replicaset in self._all("replicasets"):
            self._replicaset(replicaset)
        for pod in self._all("pods"):
            self.kubelet.run(pod)

    # Stored documents are replaced, never changed: reading them without a copy is safe.
    def _all(self, plural: str) -> list[Object]:
        return [document for key, document in list(self.cluster.objects.items()) if key[0] == plural]

    def _owned(self, plural: str, owner: Object) -> list[Object]:
        return [document for document in self._all(plural) if owner_of(document) == owner["metadata"]["uid"]]

    def _live_pods(self, replicaset: Object) -> list[Object]:
        pods = self._owned("pods", replicaset)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def _available(self, replicaset: Object) -> int:
        minimum = replicaset["spec"].get("minReadySeconds", 0)
        return sum(self.kubelet.available(pod, minimum) for pod in self._live_pods(replicaset))

    # -- Deployment

    def _deployment(self, deployment: Object) -> None:
        owned = self._owned("replicasets", deployment)
        current = next((rs for rs in owned if hash_of(rs) == template_hash(deployment)), None)
        paused = deployment["spec"].get("paused", False)
        if current is None and paused:
            self._scale_paused(deployment, owned)
        elif current is None:
            current = self._new_replicaset(deployment, owned)
            owned.append(current)
        if current is not None:
            current = self._revise(deployment, current, owned)
            deployment = self.cluster.objects[key_of("deployments", deployment)]
            old = [rs for rs in owned if name_of(rs) != name_of(current)]
            if not paused:
                self._roll(deployment, current, old)
                self._forget_history(deployment, old)
            elif current["spec"]["replicas"] != deployment["spec"]["replicas"] and not active(old):
                self._resize(deployment, current, deployment["spec"]["replicas"])
        self._deployment_status(deployment, current)

    def _new_replicaset(self, deployment: Object, owned: list[Object]) -> Object:
        meta, spec = deployment["metadata"], deployment["spec"]
        mark = template_hash(deployment)
        template = copy.deepcopy(spec["template"])
        template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = mark
        selector = copy.deepcopy(spec["selector"])
        selector.setdefault("matchLabels", {})[HASH] = mark
        document = {
            "metadata": {
                "name": f"{meta['name']}-{mark}",
                "namespace": meta["namespace"],
                "labels": template["metadata"]["labels"],
                "annotations": {REVISION: str(last_revision(owned) + 1)},
                "ownerReferences": [reference(deployment)],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": spec.get("minReadySeconds", 0),
                "selector": selector,
                "template": template,
            },
            "status": {"replicas": 0},
        }
        return self.cluster.add("replicasets", document)

    def _revise(self, deployment: Object, current: Object, owned: list[Object]) -> Object:
        """Give the current ReplicaSet the highest revision, and the Deployment the same."""
        old_annotations = current["metadata"].get("annotations", {})
        revision = int(old_annotations.get(REVISION, 0))
        highest = last_revision([rs for rs in owned if name_of(rs) != name_of(current)])
        annotations = {k: v for k, v in old_annotations.items() if k in (REVISION, HISTORY)}
        inherited = deployment["metadata"].get("annotations", {})
        annotations |= {k: v for k, v in inherited.items() if k not in OWN_ANNOTATIONS}
        if revision < highest:
            past = [p for p in (annotations.get(HISTORY), str(revision)) if p]
            annotations |= {REVISION: str(highest + 1), HISTORY: ",".join(past)}
            revision = highest + 1
        meta = {**current["metadata"], "annotations": annotations}
        current = self.cluster.write("replicasets", {**current, "metadata": meta})
        if inherited.get(REVISION) != str(revision):
            meta = {**deployment["metadata"], "annotations": {**inherited, REVISION: str(revision)}}
            self.cluster.write("deployments", {**deployment, "metadata": meta})
        return current

    def _roll(self, deployment: Object, current: Object, old: list[Object]) -> None:
        spec = deployment["spec"]
        wanted: int = spec["replicas"]
        if spec["strategy"]["type"] == "Recreate":
            for rs in old:
                self._resize(deployment, rs, 0)
            if not any(self._owned("pods", rs) for rs in old):
                self._resize(deployment, current, wanted)
            return
        old = active(old)
        surge, unavailable = limits(spec, wanted)
        size = current["spec"]["replicas"]
        total = size + sum(rs["spec"]["replicas"] for rs in old)
        room = wanted + surge - total
        if size > wanted:
            self._resize(deployment, current, wanted)
        elif size < wanted and room > 0:
            self._resize(deployment, current, min(wanted, size + room))
            return  # one step a pass: taking old ones away waits until the new ones are counted
        self._shrink(deployment, current, old, total, wanted - unavailable)

    def _shrink(self, deployment: Object, current: Object, old: list[Object], total: int, minimum: int) -> None:
        """Take old replicas away: the broken first, then as many as stay above the minimum available."""
        current_available = min(self._available(current), current["spec"]["replicas"])
        spare = total - minimum - (current["spec"]["replicas"] - current_available)
        sizes = {name_of(rs): rs["spec"]["replicas"] for rs in old}
        up = {name_of(rs): min(self._available(rs), rs["spec"]["replicas"]) for rs in old}
        for rs in sorted(old, key=revision_of):
            broken = min(max(spare, 0), sizes[name_of(rs)] - up[name_of(rs)])
            sizes[name_of(rs)] -= broken
            spare -= broken
        extra = current_available + sum(up.values()) - minimum
        for rs in sorted(old, key=revision_of):
            cut = min(max(extra, 0), max(spare, 0), sizes[name_of(rs)])
            sizes[name_of(rs)] -= cut
            extra, spare = extra - cut, spare - cut
            self._resize(deployment, rs, sizes[name_of(rs)])

    def _scale_paused(self, deployment: Object, owned: list[Object]) -> None:
        running = active(owned)
        if len(running) == 1:
            self._resize(deployment, running[0], deployment["spec"]["replicas"])

    def _resize(self, deployment: Object, replicaset: Object, size: int) -> None:
        before = replicaset["spec"]["replicas"]
        if before == size:
            return
        stored = self.cluster.objects[key_of("replicasets", replicaset)]
        self.cluster.write("replicasets", {**stored, "spec": {**stored["spec"], "replicas": size}})
        way = "up" if size > before else "down"
        said = f"Scaled {way} replica set {name_of(replicaset)} from {before} to {size}"
        self.kubelet.event(deployment, "Normal", "ScalingReplicaSet", said, again=True)

    def _forget_history(self, deployment: Object, old: list[Object]) -> None:
        idle = [rs for rs in old if not rs["spec"]["replicas"] and not self._owned("pods", rs)]
        keep = deployment["spec"].get("revisionHistoryLimit", 10)
        for rs in sorted(idle, key=revision_of)[: max(0, len(idle) - keep)]:
            self.cluster.drop("replicasets", rs["metadata"]["namespace"], name_of(rs))

    def _deployment_status(self, deployment: Object, current: Object | None) -> None:
        stored = self.cluster.objects[key_of("deployments", deployment)]
        owned = self._owned("replicasets", stored)
        counts = {
            "replicas": sum(len(self._live_pods(rs)) for rs in owned),
            "updatedReplicas": len(self._live_pods(current)) if current else 0,
            "readyReplicas": sum(self._ready(rs) for rs in owned),
            "availableReplicas": sum(self._available(rs) for rs in owned),
        }
        total = sum(rs["spec"]["replicas"] for rs in owned)
        counts["unavailableReplicas"] = max(0, total - counts["availableReplicas"])
        status = {"observedGeneration": stored["metadata"]["generation"], **nonzero(counts)}
        status["conditions"] = self._conditions(stored, current, counts)
        if status != stored.get("status"):
            self.cluster.write("deployments", {**stored, "status": status})

    def _ready(self, replicaset: Object) -> int:
        return sum(self.kubelet.available(pod, 0) for pod in self._live_pods(replicaset))

    def _conditions(self, deployment: Object, current: Object | None, counts: dict[str, int]) -> list[Object]:
        wanted = deployment["spec"]["replicas"]
        enough = counts["availableReplicas"] >= wanted - limits(deployment["spec"], wanted)[1]
        words = ("has", "Available") if enough else ("does not have", "Unavailable")
        said = f"Deployment {words[0]} minimum availability."
        available = condition("Available", str(enough), f"MinimumReplicas{words[1]}", said)
        old = {c["type"]: c for c in deployment.get("status", {}).get("conditions", [])}
        progressing = self._progressing(deployment, current, counts, old.get("Progressing"))
        return [dated(c, old.get(c["type"])) for c in (available, progressing)]

    def _progressing(
        self, deployment: Object, current: Object | None, counts: dict[str, int], old: Object | None
    ) -> Object:
        if deployment["spec"].get("paused"):
            return condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
        assert current is not None, "only a paused Deployment has no current ReplicaSet"
        name, wanted = name_of(current), deployment["spec"]["replicas"]
        done = "NewReplicaSetAvailable"
        updated = counts["replicas"] == counts["updatedReplicas"]
        if updated and counts["updatedReplicas"] == wanted == counts["availableReplicas"]:
            return condition("Progressing", "True", done, f'ReplicaSet "{name}" has successfully progressed.')
        if old and old["reason"] == done and updated and f'"{name}"' in old["message"]:
            return old  # a rollout that finished does not start to time out when a pod breaks later
        uid = deployment["metadata"]["uid"]
        seen = (name, tuple(sorted(counts.items())))
        if self._progress.get(uid, (None, 0.0))[0] != seen:
            self._progress[uid] = (seen, time.monotonic())
        limit = self.progress_deadline_s or deployment["spec"].get("progressDeadlineSeconds", 600)
        if time.monotonic() - self._progress[uid][1] > limit:
            said = f'ReplicaSet "{name}" has timed out progressing.'
            return condition("Progressing", "False", "ProgressDeadlineExceeded", said)
        return condition("Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')

    # -- ReplicaSet

    def _replicaset(self, replicaset: Object) -> None:
        namespace, name = replicaset["metadata"]["namespace"], name_of(replicaset)
        if orphaned(replicaset, self._all("deployments")):
            self.cluster.drop("replicasets", namespace, name)
            for pod in self._live_pods(replicaset):
                self._kill(pod)
            return
        pods = self._live_pods(replicaset)
        missing = replicaset["spec"]["replicas"] - len(pods)
        for _ in range(missing):
            pod = self.cluster.add("pods", pod_of(replicaset))
            self.kubelet.life(pod)
            self.kubelet.event(replicaset, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        if missing < 0:
            # Not ready before ready, young before old: the order of the real controller.
            lives = {name_of(pod): self.kubelet.life(pod) for pod in pods}
            pods.sort(key=lambda pod: (lives[name_of(pod)].ready_since is not None, -lives[name_of(pod)].number))
            for pod in pods[:-missing]:
                self._kill(pod)
                self.kubelet.event(replicaset, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        live = len(self._live_pods(replicaset))
        counts = {
            "fullyLabeledReplicas": live,
            "readyReplicas": self._ready(replicaset),
            "availableReplicas": self._available(replicaset),
        }
        generation = replicaset["metadata"]["generation"]
        status = {"replicas": live, **nonzero(counts), "observedGeneration": generation}
        if status != replicaset.get("status"):
            stored = self.cluster.objects[key_of("replicasets", replicaset)]
            self.cluster.write("replicasets", {**stored, "status": status})

    def _kill(self, pod: Object) -> None:
        meta = {**pod["metadata"], "deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": 30}
        self.cluster.write("pods", {**pod, "metadata": meta})

"""A fake kube-apiserver over plain HTTP: Deployments, ReplicaSets, Pods, Events, with live controllers.

It is driven by the real kubectl and by the Python clients: discovery, Table, LIST with selectors and
paging, WATCH with bookmarks, three kinds of patch, the scale and log subresources, dry run, Status errors.
The protocol is in `kubernetes_api`, what a Deployment does in `kubernetes_controller`, what a pod does in
`kubernetes_pods`; here are the controls of a test.

`kubectl apply` and `create -f` need `--validate=false` (there is no OpenAPI). It never runs a container.
"""

from __future__ import annotations

import time
from typing import Any

from tests.fakes.kubernetes_api import KubernetesApi, Target
from tests.fakes.kubernetes_pods import Health
from tests.fakes.kubernetes_state import RESOURCES, Object, timestamp


class FakeKubernetes(KubernetesApi):
    """The server and its controls. With `token`, requests need that bearer token (else 401)."""

    def __init__(self, token: str | None = None) -> None:
        super().__init__(token)
        for name in ("default", "kube-system"):
            self.add_namespace(name)

    def add_namespace(self, name: str) -> None:
        """Create a namespace."""
        self.cluster.add("namespaces", {"metadata": {"name": name}, "status": {"phase": "Active"}})

    def add_deployment(
        self, name: str, image: str, *, replicas: int = 1, namespace: str = "default", **spec: Any
    ) -> Object:
        """Create a Deployment of one container `app`; `spec` is merged over the rest of its spec."""
        labels = {"app": name}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": image}]},
        }
        body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
        document = {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": body}
        return self.create(Target(RESOURCES["deployments"], namespace, name, ""), document, dry=False)

    def set_health(self, image: str, health: Health) -> None:
        """From now on containers of this image are `healthy`, `not_ready`, `crash` or `pull_error`."""
        with self.cluster.changed:
            self.kubelet.image_health[image] = health

    def set_pod_health(self, pod: str, health: Health) -> None:
        """The same for one pod, whatever its image."""
        with self.cluster.changed:
            self.kubelet.pod_health[pod] = health

    def set_image_log(self, image: str, *lines: str) -> None:
        """What a container of this image writes when it starts."""
        self.kubelet.image_log[image] = list(lines)

    def write_log(self, pod: str, *lines: str, namespace: str = "default") -> None:
        """Let a running pod write lines."""
        with self.cluster.changed:
            life = self.kubelet.life(self.cluster.objects["pods", namespace, pod])
            life.log.extend((time.time(), line) for line in lines)
            self.cluster.changed.notify_all()

    def backdate(self, plural: str, name: str, seconds: float, namespace: str = "default") -> None:
        """Make an object this many seconds old."""
        with self.cluster.changed:
            found = self.cluster.objects[plural, namespace, name]
            meta = {**found["metadata"], "creationTimestamp": timestamp(time.time() - seconds)}
            self.cluster.write(plural, {**found, "metadata": meta})

    def freeze(self, frozen: bool = True) -> None:
        """Stop (or start) the controllers: changes are stored, and nothing follows from them."""
        with self.cluster.changed:
            self.controller.frozen = frozen

    def forbid(self, verb: str, plural: str, namespace: str | None = None) -> None:
        """Answer 403 to a verb (get list watch create update patch delete) on a resource, as RBAC would."""
        self._forbidden.add((verb, plural, namespace))

    def compact(self) -> None:
        """Forget the change log: older watches and list tokens get 410 Expired."""
        with self.cluster.changed:
            self.cluster.compacted = self.cluster.revision
            self.cluster.log.clear()

    def cut_watches(self) -> None:
        """End every open watch, as a restarting server does."""
        with self.cluster.changed:
            self.watches_cut += 1
            self.cluster.changed.notify_all()

    def objects(self, plural: str, namespace: str = "default") -> list[Object]:
        """Copies of what is stored."""
        return self.cluster.select(plural, lambda obj: obj["metadata"].get("namespace", "") == namespace)

    def settled(self, name: str, namespace: str = "default") -> bool:
        """Whether a Deployment's rollout is complete and its old pods are gone."""
        found = self.cluster.get("deployments", namespace, name)
        assert found is not None
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        counts = [status.get(c, 0) for c in ("replicas", "updatedReplicas", "availableReplicas")]
        labels = found["spec"]["selector"]["matchLabels"].items()
        own = [p for p in self.objects("pods", namespace) if labels <= p["metadata"].get("labels", {}).items()]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return seen and counts == [wanted] * 3 and len(own) == wanted

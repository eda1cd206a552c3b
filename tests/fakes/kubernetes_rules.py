"""Admission of the fake kube-apiserver: defaults that are filled in, and what is refused with 422 or 409.

Pure functions over documents. Only rules that the commands of an operator can run into are here; an
object that passes is not thereby valid on a real cluster.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.kubernetes_patch import PatchError, json_patch, merge_patch, strategic_merge
from tests.fakes.kubernetes_state import ApiError, Object, Resource, conflict, invalid, label_selector

Causes = list[tuple[str, str, str]]
PATCHES = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    "application/strategic-merge-patch+json": strategic_merge,
}


def patched(resource: Resource, name: str, document: Object, patch: Any, content_type: str) -> Object:
    """Apply a patch of the given media type; 415 for another, 422 when it does not fit."""
    apply = PATCHES.get(content_type)
    if apply is None:
        accepted = ", ".join(PATCHES)
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise ApiError(415, "UnsupportedMediaType", message)
    try:
        result = apply(document, patch)
    except PatchError as error:
        raise ApiError(422, "Invalid", f"the server rejected our request due to an error: {error}") from error
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise invalid(resource, name, [("FieldValueInvalid", "Invalid value: not an object", "metadata")])
    return result


def completed(resource: Resource, document: Object) -> Object:
    """A copy with the defaults filled in that clients rely on reading back."""
    document = copy.deepcopy(document)
    _drop_null_time(document)
    _drop_null_time(document.get("spec", {}).get("template") or {})
    if resource.plural == "deployments":
        spec = document.setdefault("spec", {})
        for name, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
            if spec.get(name) is None:
                spec[name] = value
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")
        pod = spec.setdefault("template", {}).setdefault("spec", {})
        for name, text in (("restartPolicy", "Always"), ("dnsPolicy", "ClusterFirst")):
            pod.setdefault(name, text)
        pod.setdefault("terminationGracePeriodSeconds", 30)
    if resource.plural == "replicasets":
        document.setdefault("spec", {}).setdefault("replicas", 1)
    return document


def _drop_null_time(document: Object) -> None:
    # Clients written in Go send `creationTimestamp: null` for "not set".
    meta = document.get("metadata")
    if isinstance(meta, dict) and meta.get("creationTimestamp", "") is None:
        del meta["creationTimestamp"]


def check(resource: Resource, new: Object, old: Object | None) -> None:
    """Raise 409 for a stale version or another uid, 422 for a document that may not be."""
    name = str(new["metadata"].get("name", ""))
    if old is not None:
        sent, stored = new["metadata"], old["metadata"]
        if sent.get("resourceVersion") not in (None, "", stored["resourceVersion"]):
            raise conflict(resource, name)
        if sent.get("uid") not in (None, "", stored["uid"]):
            why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: {stored['uid']}"
            raise conflict(resource, name, why)
        if sent.get("name") != stored["name"]:
            raise ApiError(400, "BadRequest", "the name of the object does not match the name on the URL")
    causes = _causes(resource, new, old)
    if causes:
        raise invalid(resource, name, causes)


def _causes(resource: Resource, new: Object, old: Object | None) -> Causes:
    causes: Causes = []
    spec = new.get("spec") or {}
    if resource.plural in ("deployments", "replicasets"):
        replicas = spec.get("replicas", 1)
        if not isinstance(replicas, int) or replicas < 0:
            causes.append(_bad("spec.replicas", f"{replicas}: must be greater than or equal to 0"))
        causes += _containers(spec.get("template", {}).get("spec", {}), "spec.template.spec.containers")
        causes += _selector(spec, old)
    if resource.plural == "pods":
        causes += _containers(spec, "spec.containers")
        if old is not None and _frozen(spec) != _frozen(old["spec"]):
            said = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
            causes.append(("FieldValueForbidden", said, "spec"))
    return causes


def _bad(path: str, said: str) -> tuple[str, str, str]:
    return "FieldValueInvalid", f"Invalid value: {said}", path


def _containers(pod: Object, path: str) -> Causes:
    containers = pod.get("containers") or []
    if not containers:
        return [("FieldValueRequired", "Required value", path)]
    return [
        ("FieldValueRequired", "Required value", f"{path}[{at}].{field}")
        for at, container in enumerate(containers)
        for field in ("name", "image")
        if not container.get(field)
    ]


def _selector(spec: Object, old: Object | None) -> Causes:
    selector = spec.get("selector")
    if not selector:
        return [("FieldValueRequired", "Required value", "spec.selector")]
    if old is not None and selector != old["spec"]["selector"]:
        return [_bad("spec.selector", f"{selector}: field is immutable")]
    text = ",".join(f"{key}={value}" for key, value in selector.get("matchLabels", {}).items())
    if not label_selector(text)({"metadata": spec.get("template", {}).get("metadata", {})}):
        labels = spec.get("template", {}).get("metadata", {}).get("labels")
        return [_bad("spec.template.metadata.labels", f"{labels}: `selector` does not match template `labels`")]
    return []


def _frozen(spec: Object) -> Object:
    """The part of a pod's spec that nobody may change."""
    rest = {name: value for name, value in spec.items() if name not in ("containers", "nodeName", "tolerations")}
    return {**rest, "names": [c.get("name") for c in spec.get("containers", [])]}


def scale_of(document: Object) -> Object:
    """The autoscaling/v1 Scale of a Deployment or ReplicaSet."""
    meta = document["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = document["spec"]["selector"].get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept},
        "spec": {"replicas": document["spec"]["replicas"]},
        "status": {"replicas": document.get("status", {}).get("replicas", 0), "selector": selector},
    }

"""The words of Deployments, ReplicaSets and pods that the controllers calculate with; pure functions.

They read and build documents, and never store one.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import secrets
from typing import Any

from tests.fakes.kubernetes_state import Object, timestamp

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
HASH = "pod-template-hash"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
# What belongs to the Deployment alone and is not handed down to its ReplicaSets.
OWN_ANNOTATIONS = (REVISION, HISTORY, "kubectl.kubernetes.io/last-applied-configuration")


def template_hash(deployment: Object) -> str:
    """Ten letters that stand for the pod template; the same template always gives the same."""
    text = json.dumps(_pruned(deployment["spec"]["template"]), sort_keys=True).encode()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in hashlib.sha256(text).digest()[:10])


def _pruned(value: Any) -> Any:
    # Clients written in Go send empty structs (`resources: {}`) that were not there when they read.
    if isinstance(value, dict):
        kept = {name: _pruned(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, {}, [], "")}
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def pod_of(replicaset: Object) -> Object:
    template = copy.deepcopy(replicaset["spec"]["template"])
    suffix = "".join(secrets.choice(ALPHABET) for _ in range(5))
    meta = {
        **template.get("metadata", {}),
        "name": f"{name_of(replicaset)}-{suffix}",
        "generateName": f"{name_of(replicaset)}-",
        "namespace": replicaset["metadata"]["namespace"],
        "ownerReferences": [reference(replicaset)],
    }
    return {"metadata": meta, "spec": template["spec"], "status": {"phase": "Pending"}}


def reference(owner: Object) -> Object:
    names = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name_of(owner)}
    return {**names, "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}


def owner_of(document: Object) -> str | None:
    return next((r["uid"] for r in document["metadata"].get("ownerReferences", []) if r.get("controller")), None)


def orphaned(document: Object, owners: list[Object]) -> bool:
    uid = owner_of(document)
    return uid is not None and all(owner["metadata"]["uid"] != uid for owner in owners)


def limits(spec: Object, wanted: int) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down); both zero would never move."""
    if spec["strategy"]["type"] == "Recreate":
        return 0, 0
    rolling = spec["strategy"].get("rollingUpdate") or {}

    def count(value: Any, rounded: Any) -> int:
        if isinstance(value, str):
            return int(rounded(wanted * int(value.rstrip("%")) / 100))
        return int(value)

    surge = count(rolling.get("maxSurge", "25%"), math.ceil)
    unavailable = count(rolling.get("maxUnavailable", "25%"), math.floor)
    return surge, unavailable if surge or unavailable else 1


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def dated(new: Object, old: Object | None) -> Object:
    if old and all(new[k] == old[k] for k in ("status", "reason", "message")):
        return old
    since = old["lastTransitionTime"] if old and old["status"] == new["status"] else timestamp()
    return {**new, "lastUpdateTime": timestamp(), "lastTransitionTime": since}


def nonzero(counts: dict[str, int]) -> Object:
    return {name: count for name, count in counts.items() if count}


def active(replicasets: list[Object]) -> list[Object]:
    return [rs for rs in replicasets if rs["spec"]["replicas"] > 0]


def last_revision(replicasets: list[Object]) -> int:
    return max((revision_of(rs) for rs in replicasets), default=0)


def revision_of(replicaset: Object) -> int:
    return int(replicaset["metadata"].get("annotations", {}).get(REVISION, 0))


def hash_of(replicaset: Object) -> str | None:
    found: str | None = replicaset["metadata"].get("labels", {}).get(HASH)
    return found


def name_of(document: Object) -> str:
    name: str = document["metadata"]["name"]
    return name


def key_of(plural: str, document: Object) -> tuple[str, str, str]:
    return plural, document["metadata"]["namespace"], document["metadata"]["name"]

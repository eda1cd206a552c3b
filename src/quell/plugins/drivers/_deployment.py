"""What a Deployment, its ReplicaSets and its Pods say, as the fleet's words.

Sources: Kubernetes API reference, apps/v1 and core/v1; "Deployment status" in the concepts guide. Pure: documents in,
words out. Never does: ask the API.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from quell.fleet import Release, Replica, ServiceState

Object = Mapping[str, Any]

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
CHANGE_CAUSE = "kubernetes.io/change-cause"
TEMPLATE_HASH = "pod-template-hash"


def selector(deployment: Object) -> str:
    """The Deployment's label selector as the text that a LIST takes."""
    said = deployment["spec"].get("selector") or {}
    parts = [f"{key}={value}" for key, value in (said.get("matchLabels") or {}).items()]
    for rule in said.get("matchExpressions") or []:
        key, operator, values = rule["key"], rule["operator"], ",".join(rule.get("values") or [])
        parts.append(
            {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}.get(operator, f"!{key}")
        )
    return ",".join(parts)


def owned(objects: Iterable[Object], owners: Iterable[Object]) -> list[Object]:
    """Those that one of ``owners`` controls: a selector alone may match a stranger's."""
    uids = {owner["metadata"]["uid"] for owner in owners}
    return [
        one
        for one in objects
        if any(ref.get("controller") and ref.get("uid") in uids for ref in one["metadata"].get("ownerReferences") or [])
    ]


def revision(one: Object) -> int:
    """0 when the controller has not numbered it yet."""
    text = str((one["metadata"].get("annotations") or {}).get(REVISION, ""))
    return int(text) if text.isdecimal() else 0


def image(spec_owner: Object, container: str) -> str:
    """The image of ``container`` (default: the first) in a pod template or a pod."""
    containers = spec_owner["spec"].get("containers") or []
    named = [one for one in containers if one.get("name") == container] if container else containers
    return str(named[0].get("image", "")) if named else ""


def moment(text: object) -> datetime | None:
    """An RFC 3339 time."""
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(str(text)) if text else None
    return None


def condition(one: Object, kind: str) -> Object:
    conditions = (one.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry.get("type") == kind), {})


def releases(deployment: Object, sets: Sequence[Object], container: str) -> tuple[Release, ...]:
    """One release per ReplicaSet that is still kept, oldest first.

    The version is the image; sets that share one (a changed variable, say) get their revision after a ``#``.
    """
    now = revision(deployment)
    images = {one["metadata"]["uid"]: image(one["spec"]["template"], container) for one in sets}
    shared = Counter(images.values())
    found = []
    for one in sets:
        number, meta = revision(one), one["metadata"]
        version = images[meta["uid"]]
        notes = meta.get("annotations") or {}
        # A set that came back by a rollback is as old as it ever was; when it came back, the rollout's progress says.
        back = number == now and REVISION_HISTORY in notes
        found.append(
            Release(
                version=version if shared[version] == 1 else f"{version}#{number}",
                at=moment(meta.get("creationTimestamp")),
                current=number == now and number > 0,
                note=f"revision {number}{': ' + notes[CHANGE_CAUSE] if notes.get(CHANGE_CAUSE) else ''}",
                came_back=back,
                live_since=moment(condition(deployment, "Progressing").get("lastUpdateTime")) if back else None,
            )
        )
    order = {release.note: number for release, number in zip(found, map(revision, sets), strict=True)}
    return tuple(sorted(found, key=lambda one: (one.at.timestamp() if one.at else 0.0, order[one.note])))


def chosen(deployment: Object, sets: Sequence[Object], container: str, to: str) -> list[Object]:
    """The sets that ``to`` may mean: a version as ``releases`` says it, a revision's number, or an image's tag."""
    number = to.rpartition("#")[2] if "#" in to else to
    by_revision = [one for one in sets if number.isdecimal() and revision(one) == int(number)]
    if "#" in to:
        return [one for one in by_revision if image(one["spec"]["template"], container) == to.rpartition("#")[0]]
    whole = [one for one in sets if image(one["spec"]["template"], container) == to]
    tagged = [one for one in sets if image(one["spec"]["template"], container).rpartition(":")[2] == to]
    return whole or by_revision or tagged


def state(deployment: Object, pods: Sequence[Object], container: str) -> ServiceState:
    """``rolling`` as `kubectl rollout status` sees it, except that a rollout past its deadline is ``stuck``."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    desired = int(spec.get("replicas", 1))
    progressing = condition(deployment, "Progressing").get("reason", "")
    counts = {name: int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    unseen = int(status.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0)
    partial = counts["updatedReplicas"] < desired or counts["replicas"] > counts["updatedReplicas"]
    # A finished rollout whose pod fails later is a sick service, not a rolling one.
    waiting = counts["availableReplicas"] < counts["updatedReplicas"] and progressing != "NewReplicaSetAvailable"
    stuck = not unseen and progressing == "ProgressDeadlineExceeded"
    replicas = tuple(_replica(pod, container) for pod in pods if not _ended(pod))
    return ServiceState(
        replicas=replicas,
        desired=desired,
        version=image(spec["template"], container),
        rolling=not stuck and (unseen or partial or waiting),
        stuck=stuck,
        details={
            "revision": revision(deployment),
            "paused": bool(spec.get("paused")),
            "progressing": progressing,
            "ending": sum(map(_ended, pods)),
            **counts,
        },
    )


def _ended(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return bool(pod["metadata"].get("deletionTimestamp")) or phase in ("Succeeded", "Failed")


def _replica(pod: Object, container: str) -> Replica:
    ready = condition(pod, "Ready")
    return Replica(
        name=str(pod["metadata"]["name"]),
        ready=ready.get("status") == "True",
        version=image(pod, container),
        since=moment(ready.get("lastTransitionTime")) or moment(pod["metadata"].get("creationTimestamp")),
        note=_note(pod),
    )


def _note(pod: Object) -> str:
    """Phase, restarts, and why a container waits or how it last ended (`CrashLoopBackOff`, `OOMKilled`)."""
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    words = [str(status.get("phase", "Unknown"))]
    if restarts := sum(int(one.get("restartCount") or 0) for one in containers):
        words.append(f"{restarts} restarts")
    for one in containers:
        if reason := ((one.get("state") or {}).get("waiting") or {}).get("reason"):
            words.append(f"{one.get('name')} waits: {reason}")
        if ended := (one.get("lastState") or {}).get("terminated"):
            words.append(f"{one.get('name')} ended: {ended.get('reason', '')} exit {ended.get('exitCode', '?')}")
    return ", ".join(words)[:300]

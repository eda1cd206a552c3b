"""The two streams of the fake kube-apiserver: WATCH and a pod's log.

A watch replays the change log from the version the client names, then follows it; a selector turns an
object that no longer matches into DELETED and one that begins to into ADDED; bookmarks tell how far the
client has seen. A version older than the log is answered with an ERROR event of code 410, as etcd's
compaction makes the real server do. Nothing is stored here.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes.kubernetes_pods import Life
from tests.fakes.kubernetes_state import ApiError, Change, Cluster, Object, Resource
from tests.fakes.kubernetes_tables import table
from tests.fakes.serving import Request

BOOKMARK_EVERY_S = 0.25
INITIAL_END = {"k8s.io/initial-events-end": "true"}


def watch(
    cluster: Cluster,
    resource: Resource,
    keep: Callable[[Object], bool],
    request: Request,
    is_open: Callable[[], bool],
) -> Iterator[bytes]:
    """Lines of JSON, one event each, until timeoutSeconds pass or `is_open` says no."""
    as_table = "as=Table" in request.headers.get("accept", "").split(",")[0]

    def line(kind: str, obj: Object) -> bytes:
        if as_table and kind in ("ADDED", "MODIFIED", "DELETED"):
            meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            obj = table(resource, [obj], meta, request.arg("includeObject"))
        return json.dumps({"type": kind, "object": obj}).encode() + b"\n"

    seen = int(request.arg("resourceVersion") or 0)
    if seen and seen < cluster.compacted:
        gone = ApiError(410, "Expired", f"too old resource version: {seen} ({cluster.compacted})")
        yield line("ERROR", gone.status())
        return
    end = time.monotonic() + float(request.arg("timeoutSeconds") or 3600)
    bookmarks = request.arg("allowWatchBookmarks") in ("1", "true")
    initial = request.arg("sendInitialEvents") in ("1", "true")
    if not seen or initial:
        with cluster.changed:
            first, seen = cluster.select(resource.plural, keep), cluster.revision
        yield from [line("ADDED", obj) for obj in first]
        if initial and bookmarks:
            yield line("BOOKMARK", _bookmark(resource, seen, INITIAL_END))
    marked = time.monotonic()
    while is_open() and time.monotonic() < end:
        with cluster.changed:
            fresh = _since(cluster, resource, seen)
            if not fresh:
                cluster.changed.wait(0.05)
                fresh = _since(cluster, resource, seen)
            if fresh:
                seen = fresh[-1].revision
        for change in fresh:
            if event := _event(change, keep):
                yield line(*event)
        if bookmarks and time.monotonic() - marked > BOOKMARK_EVERY_S:
            marked = time.monotonic()
            yield line("BOOKMARK", _bookmark(resource, seen, {}))


def _since(cluster: Cluster, resource: Resource, seen: int) -> list[Change]:
    fresh = []
    for change in reversed(cluster.log):
        if change.revision <= seen:
            break
        if change.key[0] == resource.plural:
            fresh.append(change)
    return fresh[::-1]


def _event(change: Change, keep: Callable[[Object], bool]) -> tuple[str, Object] | None:
    after = change.kind != "DELETED" and keep(change.after)
    before = change.before is not None and keep(change.before)
    if after:
        return ("MODIFIED" if before else "ADDED"), change.after
    if not before:
        return None
    assert change.before is not None
    last = copy.deepcopy(change.before)
    last["metadata"]["resourceVersion"] = str(change.revision)
    return "DELETED", last


def _bookmark(resource: Resource, seen: int, annotations: dict[str, str]) -> Object:
    meta: Object = {"resourceVersion": str(seen), "creationTimestamp": None}
    if annotations:
        meta["annotations"] = annotations
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}


def pod_log(
    cluster: Cluster, pod: Object, life: Life, request: Request, is_open: Callable[[], bool]
) -> Iterator[bytes]:
    """The log of one container: container, previous, tailLines, sinceSeconds, timestamps, follow."""
    _check_container(pod, request.arg("container"), life)
    previous = request.arg("previous") == "true"
    if previous and not life.restarts:
        name = request.arg("container") or pod["spec"]["containers"][0]["name"]
        said = f'previous terminated container "{name}" in pod "{pod["metadata"]["name"]}" not found'
        raise ApiError(400, "BadRequest", said)
    return _log_lines(cluster, pod, life, request, is_open, previous)


def _log_lines(
    cluster: Cluster, pod: Object, life: Life, request: Request, is_open: Callable[[], bool], previous: bool
) -> Iterator[bytes]:
    with cluster.changed:
        kept = list(life.previous_log if previous else life.log)
    sent = len(kept)
    if since := request.arg("sinceSeconds"):
        kept = [entry for entry in kept if entry[0] >= time.time() - int(since)]
    if tail := request.arg("tailLines"):
        kept = kept[len(kept) - min(int(tail), len(kept)) :]
    stamped = request.arg("timestamps") == "true"
    limit = int(request.arg("limitBytes") or 0)
    text = b"".join(_log_line(entry, stamped) for entry in kept)
    if text:
        yield text[:limit] if limit else text
    key = ("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
    while request.arg("follow") == "true" and is_open() and key in cluster.objects:
        with cluster.changed:
            cluster.changed.wait(0.05)
            fresh, sent = life.log[sent:], len(life.log)
        if fresh:
            yield b"".join(_log_line(entry, stamped) for entry in fresh)


def _check_container(pod: Object, wanted: str, life: Life) -> None:
    name, names = pod["metadata"]["name"], [c["name"] for c in pod["spec"]["containers"]]
    if not wanted and len(names) > 1:
        said = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
        raise ApiError(400, "BadRequest", said)
    if wanted and wanted not in names:
        raise ApiError(400, "BadRequest", f"container {wanted} is not valid for pod {name}")
    statuses: list[Any] = pod.get("status", {}).get("containerStatuses", [])
    if life.started is None:
        reason = next((s["state"]["waiting"]["reason"] for s in statuses), "ContainerCreating")
        why = "trying and failing to pull image" if "Pull" in reason else reason
        said = f'container "{wanted or names[0]}" in pod "{name}" is waiting to start: {why}'
        raise ApiError(400, "BadRequest", said)


def _log_line(entry: tuple[float, str], stamped: bool) -> bytes:
    at, text = entry
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e9):09d}Z "
    return f"{stamp if stamped else ''}{text}\n".encode()

"""What kubectl prints: discovery documents and server-side tables (meta.k8s.io/v1 Table).

kubectl asks for tables in its Accept header and prints what the server computed; it reads discovery first
to learn which words (`deploy`, `rs`, `po`) mean which resource. Only documents are built here.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from typing import Any

from tests.fakes.kubernetes_state import RESOURCES, Object, Resource

VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")
Row = Callable[[Object], list[Any]]

VERSION = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.4",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2025-04-22T16:02:27Z",
    "goVersion": "go1.23.6",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def discovery(path: str, address: str) -> Object | None:
    """The document of one discovery path, or None when the path is not one."""
    if path == "/version":
        return VERSION
    if path == "/api":
        by = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": by}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group("apps")]}
    if path == "/apis/apps":
        return {"kind": "APIGroup", "apiVersion": "v1", **_group("apps")}
    for group, version_path in (("", "/api/v1"), ("apps", "/apis/apps/v1")):
        if path == version_path:
            rows = [row for r in RESOURCES.values() if r.group == group for row in _resource_rows(r)]
            version = "apps/v1" if group else "v1"
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": rows}
    return None


def _group(name: str) -> Object:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_rows(resource: Resource) -> list[Object]:
    row = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS),
        "shortNames": list(resource.short),
        "categories": ["all"] if resource.plural not in ("events", "namespaces") else [],
    }
    rows = [row]
    for name, kind, verbs in resource.subresources:
        sub = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind or resource.kind,
            "verbs": list(verbs),
        }
        rows.append(sub | ({"group": "autoscaling", "version": "v1"} if kind == "Scale" else {}))
    return rows


def table(resource: Resource, objects: list[Object], list_meta: Object, include: str = "Metadata") -> Object:
    """A Table of the objects; `include` is the includeObject parameter (None, Metadata, Object)."""
    columns, row = TABLES[resource.plural]
    definitions = [
        {"name": name, "type": kind, "format": "name" if name == "Name" else "", "description": "", "priority": at}
        for name, kind, at in columns
    ]
    rows = []
    for obj in objects:
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        shown = {"None": None, "Object": obj}.get(include, partial)
        rows.append({"cells": row(obj), "object": shown})
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta}
    return {**head, "columnDefinitions": definitions, "rows": rows}


def age(stamp: str | None, now: float | None = None) -> str:
    """Short age as kubectl shows it: 45s, 3m20s, 12m, 5h, 3d."""
    if not stamp:
        return "<unknown>"
    born = calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
    seconds = max(0, int((time.time() if now is None else now) - born))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if days < 2 else f"{days}d"


def _pod_row(pod: Object) -> list[Any]:
    meta, status = pod["metadata"], pod.get("status", {})
    containers = status.get("containerStatuses", [])
    ready = sum(c["ready"] for c in containers)
    word = status.get("phase", "Unknown")
    for container in containers:
        word = container["state"].get("waiting", {}).get("reason", word)
    if "deletionTimestamp" in meta:
        word = "Terminating"
    restarts = sum(c["restartCount"] for c in containers)
    cells = [meta["name"], f"{ready}/{len(pod['spec']['containers'])}", word, restarts, age(meta["creationTimestamp"])]
    where = [status.get("podIP", "<none>"), pod["spec"].get("nodeName", "<none>")]
    return [*cells, *where, "<none>", "<none>"]


def _deployment_row(deployment: Object) -> list[Any]:
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{spec['replicas']}"
    counts = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    return [meta["name"], ready, *counts, age(meta["creationTimestamp"]), *_template_cells(spec)]


def _replicaset_row(replicaset: Object) -> list[Any]:
    meta, spec, status = replicaset["metadata"], replicaset["spec"], replicaset.get("status", {})
    counts = [spec["replicas"], status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [meta["name"], *counts, age(meta["creationTimestamp"]), *_template_cells(spec)]


def _template_cells(spec: Object) -> list[str]:
    containers = spec["template"]["spec"]["containers"]
    labels = spec["selector"].get("matchLabels", {})
    names, images = (",".join(c[k] for c in containers) for k in ("name", "image"))
    return [names, images, ",".join(f"{k}={v}" for k, v in sorted(labels.items()))]


def _event_row(event: Object) -> list[Any]:
    about = event["involvedObject"]
    words = [event["type"], event["reason"], f"{about['kind'].lower()}/{about['name']}"]
    tail = [event["count"], event["metadata"]["name"]]
    return [age(event["lastTimestamp"]), *words, event["message"], *tail]


def _namespace_row(namespace: Object) -> list[Any]:
    return [namespace["metadata"]["name"], "Active", age(namespace["metadata"]["creationTimestamp"])]


def _columns(*names: str, wide: tuple[str, ...] = (), numbers: tuple[str, ...] = ()) -> list[tuple[str, str, int]]:
    both = [(name, 0) for name in names] + [(name, 1) for name in wide]
    return [(name, "integer" if name in numbers else "string", priority) for name, priority in both]


_TEMPLATE = ("Containers", "Images", "Selector")
_EVENT = _columns("Last Seen", "Type", "Reason", "Object", "Message", wide=("Count", "Name"), numbers=("Count",))
_POD_WIDE = ("IP", "Node", "Nominated Node", "Readiness Gates")
TABLES: dict[str, tuple[list[tuple[str, str, int]], Row]] = {
    "pods": (_columns("Name", "Ready", "Status", "Restarts", "Age", wide=_POD_WIDE, numbers=("Restarts",)), _pod_row),
    "deployments": (
        _columns(
            "Name",
            "Ready",
            "Up-to-date",
            "Available",
            "Age",
            wide=_TEMPLATE,
            numbers=("Up-to-date", "Available"),
        ),
        _deployment_row,
    ),
    "replicasets": (
        _columns(
            "Name",
            "Desired",
            "Current",
            "Ready",
            "Age",
            wide=_TEMPLATE,
            numbers=("Desired", "Current", "Ready"),
        ),
        _replicaset_row,
    ),
    "events": (_EVENT, _event_row),
    "namespaces": (_columns("Name", "Status", "Age"), _namespace_row),
}

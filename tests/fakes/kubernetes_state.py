"""What the fake kube-apiserver stores: objects by resource, versions, changes, selectors, errors.

One `Cluster` is one etcd: a single rising resourceVersion, a log of changes that watches read, and
optimistic concurrency. It knows nothing of HTTP and nothing of what a Deployment does.
"""

from __future__ import annotations

import copy
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Resource:
    """One row of discovery."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    short: tuple[str, ...]
    namespaced: bool = True
    subresources: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """As it stands in an object, for example `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As it stands in error messages, for example `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_SCALE = ("scale", "Scale", ("get", "patch", "update"))
_STATUS = ("status", "", ("get", "patch", "update"))
_INVOLVED = tuple(f"involvedObject.{n}" for n in ("kind", "namespace", "name", "uid", "fieldPath"))

RESOURCES: dict[str, Resource] = {
    r.plural: r
    for r in (
        Resource("", "v1", "namespaces", "namespace", "Namespace", ("ns",), namespaced=False),
        Resource(
            "",
            "v1",
            "pods",
            "pod",
            "Pod",
            ("po",),
            subresources=(("log", "", ("get",)), ("status", "", ("get",))),
            fields=("status.phase", "spec.nodeName", "spec.restartPolicy", "status.podIP"),
        ),
        Resource("", "v1", "events", "event", "Event", ("ev",), fields=(*_INVOLVED, "reason", "type", "source")),
        Resource("apps", "v1", "deployments", "deployment", "Deployment", ("deploy",), subresources=(_SCALE, _STATUS)),
        Resource("apps", "v1", "replicasets", "replicaset", "ReplicaSet", ("rs",), subresources=(_SCALE, _STATUS)),
    )
}


class ApiError(Exception):
    """An answer that is not success; `status()` is the Status object that carries it."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def status(self) -> Object:
        """meta/v1 Status, as kubectl and the client libraries read it."""
        document: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            document["details"] = self.details
        return document


def named(resource: Resource, name: str) -> Object:
    """The details that name an object in a Status."""
    group = {"group": resource.group} if resource.group else {}
    return {"name": name, **group, "kind": resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    """404."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', **named(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """409: somebody else wrote in between."""
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, **named(resource, name))


def invalid(resource: Resource, name: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """422; causes are (reason, message, field)."""
    said = [f"{path}: {message}" for _, message, path in causes]
    joined = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = {
        **named(resource, name),
        "kind": resource.kind,
        "causes": [{"reason": reason, "message": message, "field": path} for reason, message, path in causes],
    }
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', **details)


@dataclass(frozen=True)
class Change:
    """One entry of the change log; `before` lets a watch with a selector tell leaving from changing."""

    revision: int
    kind: str
    key: Key
    after: Object
    before: Object | None


@dataclass
class Cluster:
    """All objects, under one lock that is also the bell for watches and the controller."""

    changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    objects: dict[Key, Object] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    revision: int = 1000
    compacted: int = 0

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        """A copy, or None."""
        with self.changed:
            found = self.objects.get((plural, namespace, name))
            return copy.deepcopy(found) if found else None

    def select(self, plural: str, keep: Callable[[Object], bool] = lambda _: True) -> list[Object]:
        """Copies of all that `keep` accepts, ordered by namespace and name as etcd would."""
        with self.changed:
            rows = sorted((key, value) for key, value in self.objects.items() if key[0] == plural)
            return [copy.deepcopy(value) for _, value in rows if keep(value)]

    def add(self, plural: str, document: Object) -> Object:
        """Store a new object: uid, creation time, generation, version."""
        resource = RESOURCES[plural]
        with self.changed:
            document = copy.deepcopy(document)
            meta = document["metadata"]
            if "name" not in meta and "generateName" in meta:
                meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
            key = (plural, meta.get("namespace", ""), meta["name"])
            if key in self.objects:
                message = f'{resource.qualified} "{meta["name"]}" already exists'
                raise ApiError(409, "AlreadyExists", message, **named(resource, meta["name"]))
            document = {"kind": resource.kind, "apiVersion": resource.api_version, **document}
            meta["uid"] = str(uuid.uuid4())
            meta.setdefault("creationTimestamp", timestamp())
            if resource.group:
                meta["generation"] = 1
            self._store("ADDED", key, document)
            return copy.deepcopy(document)

    def write(self, plural: str, document: Object) -> Object:
        """Replace an object; unchanged content keeps its version, a changed spec raises the generation."""
        meta = document["metadata"]
        key = (plural, meta.get("namespace", ""), meta["name"])
        with self.changed:
            before = self.objects.get(key)
            if before is None:
                raise not_found(RESOURCES[plural], meta["name"])
            document = copy.deepcopy(document)
            meta = document["metadata"]
            for kept in ("uid", "creationTimestamp", "generation", "deletionTimestamp"):
                if kept in before["metadata"]:
                    meta.setdefault(kept, before["metadata"][kept])
            meta["resourceVersion"] = before["metadata"]["resourceVersion"]
            if document == before:
                return document
            if "generation" in meta and document.get("spec") != before.get("spec"):
                meta["generation"] = before["metadata"]["generation"] + 1
            self._store("MODIFIED", key, document)
            return copy.deepcopy(document)

    def drop(self, plural: str, namespace: str, name: str) -> None:
        """Remove an object; watches see DELETED with a version of its own."""
        with self.changed:
            gone = self.objects.pop((plural, namespace, name), None)
            if gone is not None:
                self.revision += 1
                last = copy.deepcopy(gone)
                last["metadata"]["resourceVersion"] = str(self.revision)
                self.log.append(Change(self.revision, "DELETED", (plural, namespace, name), last, gone))
                self.changed.notify_all()

    def _store(self, kind: str, key: Key, document: Object) -> None:
        self.revision += 1
        document["metadata"]["resourceVersion"] = str(self.revision)
        self.log.append(Change(self.revision, kind, key, document, self.objects.get(key)))
        self.objects[key] = document
        self.changed.notify_all()


def timestamp(at: float | None = None) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time is written."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def label_selector(text: str) -> Callable[[Object], bool]:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k`; raises ApiError 400 for anything else."""
    tests = [_label_term(term) for term in re.split(r",(?![^(]*\))", text) if term.strip()]
    return lambda obj: all(test(obj["metadata"].get("labels") or {}) for test in tests)


def _label_term(term: str) -> Callable[[dict[str, str]], bool]:
    name = r"[A-Za-z0-9][-A-Za-z0-9_./]*"
    term = term.strip()
    if match := re.fullmatch(rf"({name})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)", term):
        key, operator, value = match.groups()
        return lambda labels: (labels.get(key) == value) == (operator != "!=")
    if match := re.fullmatch(rf"({name})\s+(in|notin)\s+\(([^)]*)\)", term):
        key, operator, listed = match.groups()
        values = {item.strip() for item in listed.split(",")}
        return lambda labels: (labels.get(key) in values) == (operator == "in")
    if match := re.fullmatch(rf"(!?)\s*({name})", term):
        absent, key = match.groups()
        return lambda labels: (key in labels) == (not absent)
    raise ApiError(400, "BadRequest", f'unable to parse requirement: found "{term}"')


def field_selector(resource: Resource, text: str) -> Callable[[Object], bool]:
    """`metadata.name=x,status.phase!=Running`; fields that the resource does not index are a 400."""
    tests: list[tuple[str, bool, str]] = []
    for term in filter(None, text.split(",")):
        match = re.fullmatch(r"([\w.]+)(==|=|!=)(.*)", term)
        if match is None:
            raise ApiError(400, "BadRequest", f'invalid selector: "{term}"; can\'t understand "{term}"')
        path, operator, value = match.groups()
        if path not in ("metadata.name", "metadata.namespace", *resource.fields):
            raise ApiError(400, "BadRequest", f"field label not supported: {path}")
        tests.append((path, operator != "!=", value))

    def holds(obj: Object) -> bool:
        return all((_lookup(obj, path) == value) == wanted for path, wanted, value in tests)

    return holds


def _lookup(obj: Any, path: str) -> str:
    for part in path.split("."):
        obj = obj.get(part, "") if isinstance(obj, dict) else ""
    return str(obj)

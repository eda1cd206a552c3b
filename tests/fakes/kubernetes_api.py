"""The protocol half of the fake kube-apiserver: authenticate, route, read, change, answer in Status objects.

Sources: the Kubernetes API conventions and the reference of apps/v1 and core/v1. It speaks JSON only
(protobuf is answered 415) and has no OpenAPI. It decides nothing about what objects do.
"""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Self

from tests.fakes.kubernetes_controller import Controller
from tests.fakes.kubernetes_rules import check, completed, patched, scale_of
from tests.fakes.kubernetes_state import (
    RESOURCES,
    ApiError,
    Cluster,
    Object,
    Resource,
    field_selector,
    label_selector,
    named,
    not_found,
    timestamp,
)
from tests.fakes.kubernetes_tables import discovery, table
from tests.fakes.kubernetes_watch import pod_log, watch
from tests.fakes.serving import FakeServer, Fault, Reply, Request

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
CLUSTER_WIDE = ""
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Target:
    """What a path names."""

    resource: Resource
    namespace: str
    name: str
    sub: str


class KubernetesApi(FakeServer):
    """The server without its controls. With `token`, requests need that bearer token."""

    def __init__(self, token: str | None = None) -> None:
        super().__init__()
        self.token = token
        self.cluster = Cluster()
        self.controller = Controller(self.cluster)
        self.kubelet = self.controller.kubelet
        self.watches_cut = 0
        self._forbidden: set[tuple[str, str, str | None]] = set()
        self._loop = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self._loop.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        with self.cluster.changed:
            self.cluster.changed.notify_all()
        self._loop.join()
        super().__exit__(*exc)

    def _run(self) -> None:
        try:
            self.controller.run(self._stopping)
        except Exception as error:  # reported when the fake is left
            self.errors.append(error)

    # -- the protocol

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """An injected refusal as a Status object."""
        details = {"retryAfterSeconds": int(fault.retry_after)} if fault.retry_after is not None else {}
        reason = REASONS.get(fault.status, "")
        error = ApiError(fault.status, reason, f"injected: the server answers {fault.status}", **details)
        return Reply.of(error.status(), fault.status)

    def answer(self, request: Request) -> Reply:
        """Authenticate, route, run; an ApiError becomes its Status."""
        try:
            return self._route(request)
        except ApiError as error:
            return Reply.of(error.status(), error.code)

    def _route(self, request: Request) -> Reply:
        if request.path in ("/healthz", "/livez", "/readyz"):
            return Reply.text("ok")
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            raise ApiError(401, "Unauthorized", "Unauthorized")
        document = discovery(request.path.rstrip("/"), f"127.0.0.1:{self.port}")
        if document is not None:
            return Reply.of(document)
        if request.path == REVIEWS and request.method == "POST":
            return self._review(_body(request))
        target = _target(request.path)
        if target is None:
            return Reply.text("404 page not found\n", 404)
        self._authorize(request, target)
        if request.method == "GET":
            return self._read(request, target)
        return self._change(request, target)

    def _review(self, review: Object) -> Reply:
        """SelfSubjectAccessReview: answered for what was forbidden here, and kept nowhere."""
        about = review["spec"]["resourceAttributes"]
        sub = about.get("subresource")
        plural = f"{about['resource']}/{sub}" if sub else about["resource"]
        keys = {(about["verb"], plural, None), (about["verb"], plural, about.get("namespace"))}
        return Reply.of({**review, "status": {"allowed": not self._forbidden & keys}}, 201)

    def _authorize(self, request: Request, target: Target) -> None:
        verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
        verb = verbs.get(request.method, request.method.lower())
        if verb == "get" and not target.name:
            verb = "watch" if request.arg("watch") in ("1", "true") else "list"
        plural = f"{target.resource.plural}/{target.sub}" if target.sub else target.resource.plural
        if not self._forbidden & {(verb, plural, None), (verb, plural, target.namespace)}:
            return
        resource = target.resource
        about = f'{resource.qualified} "{target.name}"' if target.name else resource.qualified
        where = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
        who = 'User "system:serviceaccount:default:quell"'
        said = f'{about} is forbidden: {who} cannot {verb} resource "{plural}" in API group "{resource.group}"{where}'
        raise ApiError(403, "Forbidden", said, **named(resource, target.name))

    def _read(self, request: Request, target: Target) -> Reply:
        if not target.name:
            if request.arg("watch") in ("1", "true"):
                keep = _selection(request, target)
                chunks = watch(self.cluster, target.resource, keep, request, self._watch_open())
                return Reply(chunks=chunks)
            return self._list(request, target)
        document = self._stored(target)
        if target.sub == "log":
            with self.cluster.changed:
                life = self.kubelet.life(document)
            chunks = pod_log(self.cluster, document, life, request, self._watch_open())
            return Reply(content_type="text/plain", chunks=chunks)
        if target.sub == "scale":
            return Reply.of(scale_of(document))
        if _wants_table(request):
            meta = {"resourceVersion": document["metadata"]["resourceVersion"]}
            return Reply.of(table(target.resource, [document], meta, request.arg("includeObject")))
        return Reply.of(document)

    def _watch_open(self) -> Any:
        began = self.watches_cut
        return lambda: self.watches_cut == began and not self._stopping.is_set()

    def _stored(self, target: Target) -> Object:
        document = self.cluster.get(target.resource.plural, target.namespace, target.name)
        if document is None:
            raise not_found(target.resource, target.name)
        return document

    def _list(self, request: Request, target: Target) -> Reply:
        with self.cluster.changed:
            found = self.cluster.select(target.resource.plural, _selection(request, target))
            meta: Object = {"resourceVersion": str(self.cluster.revision)}
        if token := request.arg("continue"):
            revision, *after = json.loads(urlsafe_b64decode(token))
            if revision < self.cluster.compacted:
                raise ApiError(410, "Expired", "The provided continue parameter is too old")
            found = [obj for obj in found if _place(obj) > after]
        limit = int(request.arg("limit") or 0)
        if limit and len(found) > limit:
            meta["remainingItemCount"] = len(found) - limit
            found = found[:limit]
            text = json.dumps([self.cluster.revision, *_place(found[-1])]).encode()
            meta["continue"] = urlsafe_b64encode(text).decode()
        if _wants_table(request):
            return Reply.of(table(target.resource, found, meta, request.arg("includeObject")))
        items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in found]
        kind = {"kind": f"{target.resource.kind}List", "apiVersion": target.resource.api_version}
        return Reply.of({**kind, "metadata": meta, "items": items})

    def _change(self, request: Request, target: Target) -> Reply:
        dry = request.query.get("dryRun", [])
        if any(word != "All" for word in dry):
            raise ApiError(422, "Invalid", f'Invalid value: {dry}: supported values: "All"')
        if request.method == "DELETE" and target.name and not target.sub:
            return self._delete(request, target, dry=bool(dry) or "All" in _options(request).get("dryRun", []))
        body = _body(request)
        if request.method == "POST" and not target.name:
            document = self.create(target, body, dry=bool(dry))
            return Reply.of(document, 201)
        if request.method in ("PUT", "PATCH") and target.name and target.sub in ("", "scale"):
            return Reply.of(self._update(request, target, body, dry=bool(dry)))
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def create(self, target: Target, body: Object, *, dry: bool) -> Object:
        resource = target.resource
        if body.get("kind", resource.kind) != resource.kind:
            said = f"the object provided is unrecognized: {body.get('kind')} is not {resource.kind}"
            raise ApiError(400, "BadRequest", said)
        document = completed(resource, body)
        meta = document.setdefault("metadata", {})
        if resource.namespaced:
            if meta.setdefault("namespace", target.namespace) != target.namespace:
                said = "the namespace of the provided object does not match the namespace sent on the request"
                raise ApiError(400, "BadRequest", said)
            if self.cluster.get("namespaces", CLUSTER_WIDE, target.namespace) is None:
                raise not_found(RESOURCES["namespaces"], target.namespace)
        check(resource, document, None)
        if dry:
            born = {"uid": "00000000-0000-0000-0000-000000000000", "creationTimestamp": timestamp()}
            kind = {"kind": resource.kind, "apiVersion": resource.api_version}
            return {**kind, **document, "metadata": {**meta, **born}}
        return self.cluster.add(resource.plural, document)

    def _update(self, request: Request, target: Target, body: Any, *, dry: bool) -> Object:
        resource = target.resource
        content_type = request.headers.get("content-type", "").split(";")[0]
        with self.cluster.changed:
            stored = self._stored(target)
            before = scale_of(stored) if target.sub == "scale" else stored
            put = request.method == "PUT"
            after = body if put else patched(resource, target.name, before, body, content_type)
            if target.sub == "scale":
                version = after["metadata"].get("resourceVersion", stored["metadata"]["resourceVersion"])
                meta = {**stored["metadata"], "resourceVersion": version}
                spec = {**stored["spec"], "replicas": after.get("spec", {}).get("replicas", 0)}
                after = {**stored, "metadata": meta, "spec": spec}
            after = completed(resource, after)
            after["metadata"].setdefault("namespace", target.namespace)
            check(resource, after, stored)
            if "status" in stored:
                after["status"] = stored["status"]  # only controllers write it
            result = after if dry else self.cluster.write(resource.plural, after)
        return scale_of(result) if target.sub == "scale" else result

    def _delete(self, request: Request, target: Target, *, dry: bool) -> Reply:
        options = _options(request)
        with self.cluster.changed:
            document = self._stored(target)
            wanted = options.get("preconditions") or {}
            check(target.resource, {**document, "metadata": {**document["metadata"], **wanted}}, document)
            if target.resource.plural == "pods":
                grace = request.arg("gracePeriodSeconds") or options.get("gracePeriodSeconds", 30)
                meta = {"deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": int(grace)}
                document["metadata"].update(meta)
                if not dry and int(grace) == 0:
                    self.cluster.drop("pods", target.namespace, target.name)
                elif not dry:
                    document = self.cluster.write("pods", document)
                return Reply.of(document)
            if not dry:
                self.cluster.drop(target.resource.plural, target.namespace, target.name)
        details = {**named(target.resource, target.name), "uid": document["metadata"]["uid"]}
        head = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        return Reply.of({**head, "status": "Success", "details": details})


def _target(path: str) -> Target | None:
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[:2] == ["api", "v1"] else ("apps", parts[3:])
    if (not group and not rest) or (group and parts[:3] != ["apis", "apps", "v1"]):
        return None
    namespace = CLUSTER_WIDE
    if rest[:1] == ["namespaces"] and len(rest) >= 3:
        namespace, rest = rest[1], rest[2:]
    plural, name, sub, *more = [*rest, "", "", ""][: max(3, len(rest))]
    resource = RESOURCES.get(plural)
    if resource is None or resource.group != group or more:
        return None
    if sub and sub not in [row[0] for row in resource.subresources]:
        return None
    return Target(resource, namespace, name, sub)


def _selection(request: Request, target: Target) -> Any:
    by_label = label_selector(request.arg("labelSelector"))
    by_field = field_selector(target.resource, request.arg("fieldSelector"))

    def keep(obj: Object) -> bool:
        here = not target.namespace or obj["metadata"].get("namespace") == target.namespace
        return here and by_label(obj) and by_field(obj)

    return keep


def _wants_table(request: Request) -> bool:
    return "as=Table" in request.headers.get("accept", "").split(",")[0]


def _place(obj: Object) -> list[str]:
    return [obj["metadata"].get("namespace", ""), obj["metadata"]["name"]]


def _body(request: Request) -> Any:
    if "protobuf" in request.headers.get("content-type", ""):
        message = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise ApiError(415, "UnsupportedMediaType", message)
    try:
        return request.json()
    except ValueError as error:
        raise ApiError(400, "BadRequest", f"couldn't get version/kind; json parse error: {error}") from error


def _options(request: Request) -> Object:
    options: Object = _body(request) if request.body else {}
    return options

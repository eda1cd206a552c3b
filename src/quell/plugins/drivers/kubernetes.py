"""Moves a Kubernetes Deployment: state, rollout restart, scale, releases and rollback, over the API itself.

Example (service catalogue)::

    drivers:
    - type: kubernetes
      deployment: payment
      namespace: shop
      container: app                    # whose image is the version; default: the first
      kubeconfig: ~/.kube/config        # with context: NAME; or url with token: env:NAME and ca: PATH;
                                        # neither: the service account of the pod that Quell runs in

The cluster rolls pods by itself, so nobody drains around it. Each change can be tried with ``dry_run=True``, which the
API server checks and does not keep. A rollback puts an old ReplicaSet's template into the Deployment on the condition
that nobody changed it since it was read. Rights needed: get and patch deployments, patch deployments/scale, list
replicasets and pods. Never does: touch a paused Deployment, delete a pod.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from pydantic import Field, model_validator

from quell import addresses
from quell.errors import Permanent, Transient
from quell.fleet import Release
from quell.plugins.drivers import _deployment as words
from quell.plugins.drivers._kubeconfig import (
    SERVICE_ACCOUNT,
    Access,
    from_address,
    from_kubeconfig,
    from_service_account,
)
from quell.plugins.drivers._refusal import Incapable
from quell.plugins.drivers._wire import Answer, exchange
from quell.ports import Params, Probe, Right, Service, ServiceState

CAPABILITIES = frozenset({"state", "restart", "scale", "releases", "rollback"})
RECONCILER = "kubernetes"

_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_STRATEGIC, _MERGE, _JSON_PATCH = (
    "application/strategic-merge-patch+json", "application/merge-patch+json", "application/json-patch+json",
)  # fmt: skip
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_RIGHTS = (
    (("get", "apps", "deployments"), "state"), (("list", "apps", "replicasets"), "state"),
    (("list", "", "pods"), "state"),
    (("patch", "apps", "deployments"), "restart and rollback"), (("patch", "apps", "deployments/scale"), "scale"),
    (("delete", "apps", "deployments"), ""), (("delete", "", "pods"), ""), (("create", "", "pods/exec"), ""),
    (("get", "", "secrets"), ""),
)  # fmt: skip
"""(verb, group, resource) and what it is needed for; the rest would be more than the driver uses."""
_MAX_OBJECTS = 500
_MAX_LIST = 64 * 1024 * 1024


class Config(Params):
    """``token`` is a reference. ``max_replicas`` is the most that ``scale`` will ask for."""

    deployment: str = Field(pattern=_NAME)
    """Its name."""
    namespace: str = Field(default="", pattern=_NAME + "|^$")
    """By default the one of the kubeconfig or service account."""
    container: str = ""
    """Whose image is the version; by default the first."""
    url: str = ""
    """The address of the API."""
    token: str = ""
    ca: Path | None = None
    """A PEM file of authorities to trust."""
    kubeconfig: Path | None = None
    """The path of a kubeconfig."""
    context: str = ""
    """The context of the kubeconfig; by default its current one."""
    service_account: Path = SERVICE_ACCOUNT
    """Where the pod's own credentials are mounted."""
    max_replicas: int = Field(default=1000, ge=0)

    @model_validator(mode="after")
    def _one_way_in(self) -> Config:
        if self.url and self.kubeconfig:
            raise ValueError("give url or kubeconfig, not both")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("url starts with http:// or https://")
        return self


def connect(config: Config, service: Service, probe: Probe) -> Kubernetes:
    return Kubernetes(config, service.name, probe)


class Kubernetes(Incapable):
    """The driver of one Deployment."""

    capabilities = CAPABILITIES
    rolls_by_itself = True

    def __init__(self, config: Config, service: str, probe: Probe) -> None:
        self._config, self._service, self._probe = config, service, probe
        self._access: Access | None = None

    async def state(self) -> ServiceState:
        async with self._session() as api:
            deployment = await api.get("deployments", self._config.deployment)
            sets = await self._sets(api, deployment)
            pods = words.owned(await api.listed("pods", words.selector(deployment)), sets)
        state = words.state(deployment, pods, self._config.container)
        # Named as `releases` names it, so that the two can be compared.
        known = words.releases(deployment, sets, self._config.container)
        version = next((release.version for release in known if release.current), state.version)
        return replace(state, version=version)

    async def releases(self) -> tuple[Release, ...]:
        """Oldest first: the ReplicaSets that the Deployment still keeps."""
        async with self._session() as api:
            deployment = await api.get("deployments", self._config.deployment)
            return words.releases(deployment, await self._sets(api, deployment), self._config.container)

    async def rights(self) -> tuple[Right, ...]:
        """What the account may do here, as the API server itself says; asking needs no right and keeps nothing."""
        async with self._session() as api:
            granted = await asyncio.gather(*(api.allows(*asked) for asked, _ in _RIGHTS))
        return tuple(
            Right(f"{verb} {plural}", yes, need)
            for ((verb, _, plural), need), yes in zip(_RIGHTS, granted, strict=True)
        )

    async def restart(self, replicas: Sequence[str] = (), *, dry_run: bool = False) -> str:
        """What `kubectl rollout restart` does. Pods by name are refused: the cluster rolls all of them."""
        if replicas:
            raise Permanent(f"{self._service}: Kubernetes restarts a Deployment as a whole", "denied")
        name, at = self._config.deployment, self._probe.now().isoformat(timespec="seconds")
        body = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED_AT: at}}}}}
        async with self._session() as api:
            _not_paused(await api.get("deployments", name))
            await api.patch("deployments", name, body, _STRATEGIC, dry_run)
        return f"deployment {api.namespace}/{name} restarted"

    async def scale(self, to: int, *, dry_run: bool = False) -> str:
        name = self._config.deployment
        if not 0 <= to <= self._config.max_replicas:
            raise Permanent(f"{self._service}: {to} replicas; allowed are 0 to {self._config.max_replicas}", "denied")
        async with self._session() as api:
            before = (await api.get("deployments", name))["spec"].get("replicas", 1)
            await api.patch("deployments", name, {"spec": {"replicas": to}}, _MERGE, dry_run, sub="/scale")
        return f"deployment {api.namespace}/{name} scaled from {before} to {to}"

    async def rollback(self, to: str, *, dry_run: bool = False) -> str:
        """Back to release ``to``: a version of ``releases``, a revision's number, or an image's tag.

        Raises ``Permanent`` (missing, ambiguous, denied when paused), ``Transient`` (busy) when somebody changed the
        Deployment in between.
        """
        name = self._config.deployment
        async with self._session() as api:
            deployment = await api.get("deployments", name)
            _not_paused(deployment)
            sets = await self._sets(api, deployment)
            target = self._one(deployment, sets, to)
            number = words.revision(target)
            if number == words.revision(deployment):
                return f"deployment {api.namespace}/{name} is at revision {number} already"
            await api.patch("deployments", name, _undo(deployment, target), _JSON_PATCH, dry_run)
        image = words.image(target["spec"]["template"], self._config.container)
        return f"deployment {api.namespace}/{name} rolled back to revision {number} ({image})"

    def _one(self, deployment: words.Object, sets: Sequence[words.Object], to: str) -> words.Object:
        found = words.chosen(deployment, sets, self._config.container, to)
        if len(found) == 1:
            return found[0]
        known = ", ".join(release.version for release in words.releases(deployment, sets, self._config.container))
        if found:
            raise Permanent(f"{self._service}: {len(found)} revisions are {to!r}; known: {known}", "ambiguous")
        raise Permanent(f"{self._service}: no release {to!r}; known: {known}", "missing")

    async def _sets(self, api: _Api, deployment: words.Object) -> list[words.Object]:
        return words.owned(await api.listed("replicasets", words.selector(deployment)), [deployment])

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[_Api]:
        if self._access is None:
            self._access = await asyncio.to_thread(self._find)
        access = self._access
        namespace = self._config.namespace or access.namespace or "default"
        if access.tls is None:
            yield _Api(self._probe.http, access, namespace)
            return
        # The shared client knows neither this cluster's authority nor our certificate.
        async with httpx.AsyncClient(
            verify=access.tls, trust_env=False, timeout=self._probe.timeout_s,
            event_hooks=self._probe.http.event_hooks,
        ) as client:  # fmt: skip
            yield _Api(client, access, namespace)

    def _find(self) -> Access:
        config = self._config
        if config.url:
            token = self._probe.secret(config.token) if config.token else ""
            return from_address(config.url, token, config.ca)
        if config.kubeconfig:
            return from_kubeconfig(config.kubeconfig.expanduser(), config.context)
        return from_service_account(config.service_account)


def _not_paused(deployment: words.Object) -> None:
    if deployment["spec"].get("paused"):
        name = deployment["metadata"]["name"]
        raise Permanent(f"deployment {name} is paused: somebody holds its rollouts; resume it first", "denied")


def _undo(deployment: words.Object, target: words.Object) -> list[dict[str, Any]]:
    """The JSON patch of a rollback. With the version that was read, a change in between is a conflict (409)."""
    template = json.loads(json.dumps(target["spec"]["template"]))
    (template.get("metadata", {}).get("labels") or {}).pop(words.TEMPLATE_HASH, None)
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": deployment["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]


class _Api:
    """The handful of calls, in one namespace."""

    def __init__(self, client: httpx.AsyncClient, access: Access, namespace: str) -> None:
        self._client, self._access, self.namespace = client, access, namespace

    async def get(self, plural: str, name: str) -> words.Object:
        return await self._call("GET", self._path(plural, name))

    async def listed(self, plural: str, labels: str) -> list[words.Object]:
        """Every object with these labels. Raises ``Permanent`` (too_large) over 500 of them."""
        found: list[words.Object] = []
        query = {"labelSelector": labels, "limit": str(_MAX_OBJECTS)}
        answer = await self._call("GET", self._path(plural), params=query)
        found += answer.get("items") or []
        if (answer.get("metadata") or {}).get("continue"):
            raise Permanent(f"kubernetes: more than {_MAX_OBJECTS} {plural} match {labels}", "too_large")
        return found

    async def patch(self, plural: str, name: str, body: Any, kind: str, dry_run: bool, sub: str = "") -> words.Object:
        query = {"fieldManager": "quell"} | ({"dryRun": "All"} if dry_run else {})
        return await self._call(
            "PATCH", self._path(plural, name) + sub, content=json.dumps(body), params=query,
            headers={"content-type": kind},
        )  # fmt: skip

    async def allows(self, verb: str, group: str, plural: str) -> bool:
        """Kubernetes API reference, SelfSubjectAccessReview v1."""
        resource, _, sub = plural.partition("/")
        about = {"namespace": self.namespace, "verb": verb, "group": group, "resource": resource, "subresource": sub}
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": about},
        }  # fmt: skip
        answer = await self._call(
            "POST", _REVIEWS, content=json.dumps(review), headers={"content-type": "application/json"}
        )
        return bool((answer.get("status") or {}).get("allowed"))

    def _path(self, plural: str, name: str = "") -> str:
        group = "/api/v1" if plural == "pods" else "/apis/apps/v1"
        return f"{group}/namespaces/{quote(self.namespace)}/{plural}" + (f"/{quote(name)}" if name else "")

    async def _call(self, method: str, path: str, **options: Any) -> words.Object:
        headers = {"accept": "application/json", **options.pop("headers", {})}
        if self._access.token:
            headers["authorization"] = f"Bearer {self._access.token}"
        if self._access.server_name:
            options["extensions"] = {"sni_hostname": self._access.server_name}
        answer = await exchange(
            self._client, method, self._access.url + path, limit=_MAX_LIST, headers=headers,
            what=f"kubernetes at {addresses.shown(self._access.url)}", **options,
        )  # fmt: skip
        if not answer.ok:
            raise _refused(f"{method} {path}", answer)
        try:
            document = orjson.loads(answer.body)
        except ValueError:
            document = None
        if not isinstance(document, Mapping):
            raise Permanent(f"kubernetes: {method} {path}: the answer is not a JSON object", "invalid")
        return document


_PERMANENT = {
    400: "invalid",
    401: "denied",
    403: "denied",
    404: "missing",
    405: "denied",
    413: "too_large",
    422: "invalid",
}
_TRANSIENT = {408: "timeout", 409: "busy", 410: "failed", 429: "busy", 503: "busy", 504: "timeout"}


def _refused(call: str, answer: Answer) -> Transient | Permanent:
    """The API's Status object as one of ours."""
    said = ""
    try:
        status = orjson.loads(answer.body)
        said = str(status.get("message", ""))[:500] if isinstance(status, dict) else ""
    except ValueError:
        said = answer.body[:200].decode(errors="replace")
    text = f"kubernetes: {call}: {answer.status} {said}"
    if answer.status in _PERMANENT:
        return Permanent(text, _PERMANENT[answer.status])
    if answer.status in _TRANSIENT or answer.status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Transient(text, _TRANSIENT.get(answer.status, "lost"), retry_after=answer.retry_after)
    return Permanent(text, "failed")

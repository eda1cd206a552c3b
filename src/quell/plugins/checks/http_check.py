"""Ask addresses over HTTP, all at once: do they answer, how fast, with what, and until when is their certificate good.

    - id: downstream
      type: http_check
      config:
        urls:
        - {name: stripe, url: https://api.stripe.com/healthcheck}
        - {name: fraud, url: http://fraud:8080/health, expect_status: 200, expect_body: '"ok"'}
      interpret: {healthy: all_healthy, warning: any_slow > 1000ms, critical: any_unreachable}

``any_slow`` is the largest latency, so that ``any_slow > 1000ms`` reads as written. An address that does not answer
is a fact (``any_unreachable``, with its ``error_class``), never an error of the check, and never hides the others.
Redirects are followed on the same host only, unless ``redirects`` says ``any`` or ``none``.
Never does: reuse a connection (the latency is that of a new visitor), switch off the check of a certificate, read
more of a body than ``max_bytes``, send a header on to another host.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import httpx
from pydantic import BeforeValidator, Field, field_validator, model_validator

from quell import ports
from quell.errors import Permanent, Transient
from quell.plugins.checks import _fetch, _patterns, _tls
from quell.plugins.checks._durations import Bytes, Seconds
from quell.ports import FactSpec, Missing, Observation, Probe, Reading

_MOST_URLS = 100
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RESERVE = 0.1
"""The part of the check's time kept back, so that an address that hangs is reported and the others with it."""

FACTS: Mapping[str, FactSpec] = {
    "all_healthy": "bool", "any_healthy": "bool", "any_unhealthy": "bool", "any_unreachable": "bool",
    "all_reachable": "bool", "healthy_count": "number", "unhealthy_count": "number", "unreachable_count": "number",
    "total_count": "number", "any_slow": "duration:ms", "max_latency": "duration:ms", "min_latency": "duration:ms",
    "avg_latency": "duration:ms", "latency": "duration:ms", "status": "number", "healthy": "bool", "reachable": "bool",
    "body_matches": "bool", "tls_expires_at": "time", "tls_days_left": "number", "error": "string",
    "error_class": "string",
}  # fmt: skip


def _statuses(value: Any) -> Any:
    """200, '2xx', '200-299', or a list of those, as ranges."""
    made = []
    for one in value if isinstance(value, list | tuple) else (value,):
        match = re.fullmatch(r"([1-5])xx|(\d{3})(?:-(\d{3}))?", str(one))
        if match is None:
            raise ValueError(f"not a status: {one!r}; write 200, 2xx or 200-299")
        low = int(match[1]) * 100 if match[1] else int(match[2])
        made.append((low, low + 99 if match[1] else int(match[3] or match[2])))
    return tuple(made)


Statuses = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_statuses)]


class Target(ports.Params):
    """One address. ``expect_body`` is a regular expression that the body must match somewhere."""

    url: ports.Url = Field(max_length=4000)
    """The address, http or https."""
    name: str = ""
    """What to call it in findings; by default the address without its query."""
    method: Literal["GET", "HEAD", "OPTIONS"] = "GET"
    """Nothing that changes the other side."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent along, and never on to another host."""
    expect_status: Statuses = ((200, 299),)
    """What counts as healthy: ``200``, ``2xx``, ``200-299``, or a list of those."""
    expect_body: str | None = None
    timeout: Seconds | None = None
    """How long this address may take; by default most of the check's time."""

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not re.match(r"https?://[^/\s]", url):
            raise ValueError(f"not an http or https address: {_fetch.shown(url)}")
        return url

    @field_validator("expect_body")
    @classmethod
    def _readable(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            _patterns.compiled(pattern)
        return pattern

    @property
    def label(self) -> str:
        return self.name or _fetch.shown(self.url)


def _targets(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return tuple({"url": one} if isinstance(one, str) else one for one in value)


class Params(ports.Params):
    """``urls``, or one ``url``; the single settings next to them hold for every address that has none of its own."""

    urls: Annotated[tuple[Target, ...], BeforeValidator(_targets), ports.IS_URL] = Field(
        default=(), max_length=_MOST_URLS
    )
    url: ports.Url | None = None
    method: Literal["GET", "HEAD", "OPTIONS"] | None = None
    """For addresses that name none."""
    headers: dict[str, str] | None = None
    """For addresses that name none."""
    expect_status: Any = None
    """For addresses that name none: ``200``, ``2xx``, ``200-299``, or a list of those."""
    expect_body: str | None = None
    """For addresses that name none: a regular expression that the body must match somewhere."""
    timeout: Seconds | None = None
    """For addresses that name none."""
    redirects: Literal["same_host", "none", "any"] = "same_host"
    """Which redirects to follow."""
    max_bytes: Annotated[Bytes, Field(ge=0, le=16 * 1024 * 1024)] = 256 * 1024
    """How much of each body is read."""
    ca: str | None = None
    """A PEM file of authorities to trust instead of the system's."""

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if bool(self.urls) == bool(self.url):
            raise ValueError("say urls or url, one of them")
        names = [target.label for target in self.targets]
        if len(set(names)) < len(names):
            raise ValueError("two addresses have the same name")
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        shared = {
            name: getattr(self, name)
            for name in ("method", "headers", "expect_status", "expect_body", "timeout")
            if getattr(self, name) is not None
        }
        if self.url:
            return (Target.model_validate({"url": self.url, **shared}),)
        return tuple(Target.model_validate({**shared, **_said(target)}) for target in self.urls)


def _said(target: Target) -> dict[str, Any]:
    """What the address itself says; its statuses back as they were written, since they are read again."""
    said = target.model_dump(include=target.model_fields_set)
    if "expect_status" in said:
        said["expect_status"] = [f"{low}-{high}" for low, high in said["expect_status"]]
    return said


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one address showed. ``latency_s`` is None when it never came to an answer nor to its time limit."""

    label: str
    latency_s: float | None = None
    status: int | None = None
    body_matches: bool | None = None
    expires_at: float | None = None
    flaw: str = ""
    error_class: str = ""

    @property
    def reachable(self) -> bool:
        return self.status is not None

    @property
    def healthy(self) -> bool:
        return self.reachable and not self.flaw


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Permanent`` (missing, invalid) for an unusable ``ca``; addresses that fail are facts."""
    context = await asyncio.to_thread(_tls.trusting, params.ca)
    client = httpx.AsyncClient(
        verify=context, trust_env=False, follow_redirects=False, headers={"user-agent": "quell"},
        event_hooks=probe.http.event_hooks, limits=httpx.Limits(max_keepalive_connections=0),
    )  # fmt: skip
    async with client:
        seen = await asyncio.gather(*(_look(client, target, params, probe) for target in params.targets))
    now = probe.now().timestamp()
    found, missing = _facts(seen, now)
    found |= {
        "total_count": len(seen),
        "healthy_count": sum(one.healthy for one in seen),
        "unhealthy_count": sum(not one.healthy for one in seen),
        "unreachable_count": sum(not one.reachable for one in seen),
    }
    targets = tuple(_observation(one, now) for one in seen)
    bad = [one for one in seen if not one.healthy]
    summary = "; ".join(f"{one.label}: {one.flaw}" for one in bad[:3]) or f"{len(seen)} healthy"
    evidence = {"urls": {target.label: f"{target.method} {_fetch.shown(target.url)}" for target in params.targets}}
    return Reading(found, targets, missing, summary, probe.now(), evidence)


def _observation(one: _Seen, now: float) -> Observation:
    found, missing = _facts([one], now)
    return Observation(one.label, found, {"url": one.label}, missing, one.flaw or f"HTTP {one.status}")


def _facts(seen: Sequence[_Seen], now: float) -> tuple[dict[str, Any], dict[str, Missing]]:
    """The facts of some addresses together; of one address they are its own. Counts are of the whole check only."""
    healthy = [one.healthy for one in seen]
    reachable = [one.reachable for one in seen]
    found: dict[str, Any] = {
        "all_healthy": all(healthy), "any_healthy": any(healthy), "any_unhealthy": not all(healthy),
        "healthy": all(healthy), "all_reachable": all(reachable), "reachable": all(reachable),
        "any_unreachable": not all(reachable),
    }  # fmt: skip
    missing: dict[str, Missing] = {}
    times = [one.latency_s for one in seen if one.latency_s is not None]
    names = ("any_slow", "latency", "max_latency", "min_latency", "avg_latency")
    if times:
        found |= dict.fromkeys(names[:3], max(times))
        found |= {"min_latency": min(times), "avg_latency": sum(times) / len(times)}
    else:
        missing |= dict.fromkeys(names, Missing("nothing answered"))
    worst = next((one for one in seen if not one.reachable), next((one for one in seen if one.flaw), None))
    if worst is not None:
        found |= {"error": worst.flaw, "error_class": worst.error_class}
    else:
        missing |= dict.fromkeys(("error", "error_class"), Missing("there is no error"))
    statuses = [one.status for one in seen if one.status is not None]
    bodies = [one.body_matches for one in seen if one.body_matches is not None]
    expiries = [one.expires_at for one in seen if one.expires_at is not None]
    _put(found, missing, "status", max(statuses, default=None), "nothing answered")
    _put(found, missing, "body_matches", all(bodies) if bodies else None, "no body was to be matched")
    _put(found, missing, "tls_expires_at", min(expiries, default=None), "no certificate was seen")
    days = (min(expiries) - now) / 86_400 if expiries else None
    _put(found, missing, "tls_days_left", days, "no certificate was seen")
    return found, missing


def _put(found: dict[str, Any], missing: dict[str, Missing], name: str, value: Any, otherwise: str) -> None:
    if value is None:
        missing[name] = Missing(otherwise)
    else:
        found[name] = value


async def _look(client: httpx.AsyncClient, target: Target, params: Params, probe: Probe) -> _Seen:
    loop = asyncio.get_running_loop()
    limit = min(target.timeout or probe.timeout_s, probe.timeout_s * (1 - _RESERVE))
    started = loop.time()
    try:
        # httpx counts each read by itself: a body that drips would never end.
        async with asyncio.timeout(limit):
            return await _exchange(client, _with_secrets(target, probe), params, limit)
    except TimeoutError:
        flaw = f"no answer within {limit:.3g} s"
        return _Seen(target.label, loop.time() - started, flaw=flaw, error_class="timeout")
    except (Permanent, Transient) as error:
        expires = await _tls.expiry_of(target.url, limit) if error.error_class == "tls" else None
        late = loop.time() - started if error.error_class == "timeout" else None
        return _Seen(target.label, late, expires_at=expires, flaw=str(error), error_class=error.error_class)


def _with_secrets(target: Target, probe: Probe) -> Target:
    """Headers written ``env:NAME`` or ``file:PATH`` get the secret that is there."""
    headers = {
        name: probe.secret(value) if value.startswith(("env:", "file:")) else value
        for name, value in target.headers.items()
    }
    return target.model_copy(update={"headers": headers})


async def _exchange(client: httpx.AsyncClient, target: Target, params: Params, limit: float) -> _Seen:
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer, away = await _follow(client, target, params, limit)
    latency = loop.time() - started
    expires = _tls.expiry_seen(answer.extensions)
    if not _expected(answer.status, target):
        flaw = f"redirected to another host ({away})" if away else f"HTTP {answer.status}"
        return _Seen(target.label, latency, answer.status, None, expires, flaw, "failed")
    matches = None
    if target.expect_body is not None:
        matches = await _patterns.found(target.expect_body, answer.body)
        if not matches:
            flaw = "the body does not match" + (" in the part that was read" if answer.cut else "")
            return _Seen(target.label, latency, answer.status, False, expires, flaw, "failed")
    return _Seen(target.label, latency, answer.status, matches, expires)


def _expected(status: int, target: Target) -> bool:
    return any(low <= status <= high for low, high in target.expect_status)


async def _follow(
    client: httpx.AsyncClient, target: Target, params: Params, limit: float
) -> tuple[_fetch.Answer, str | None]:
    """The answer that counts, and the host that a redirect led to when it was not followed."""
    url, method, headers = httpx.URL(target.url), target.method, dict(target.headers)
    for _ in range(_MOST_REDIRECTS + 1):
        answer = await _fetch.fetch(
            client, method, str(url), max_bytes=params.max_bytes, timeout_s=limit, headers=headers
        )
        if answer.status not in _REDIRECTS or _expected(answer.status, target) or params.redirects == "none":
            return answer, None
        try:
            onward = url.join(answer.headers.get("location", ""))
        except httpx.InvalidURL:
            return answer, None
        if onward.host != url.host:
            if params.redirects != "any":
                return answer, onward.host
            headers = {}
        if onward.scheme not in ("http", "https") or (url.scheme == "https" and onward.scheme == "http"):
            return answer, None
        url = onward
    raise Permanent(f"{_fetch.shown(target.url)}: more than {_MOST_REDIRECTS} redirects", "failed")

"""What plug-ins may use of the world: connections, catalogue, secrets and one guarded HTTP client.

``World`` is made once per process from the configuration's values; ``World.probe`` gives each call its own ``Probe``.
Never does: decide, retry, or hand out an address that the guard forbids.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError

from quell.errors import Permanent
from quell.incident.service import DriverChoice
from quell.ports import Connection, Fleet, Service
from quell.redact import KNOWN, is_reference, texts
from quell.registry import Registry

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
METADATA_NETWORKS: Networks = tuple(
    ipaddress.ip_network(text) for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32")
)
"""Link-local and cloud metadata addresses: nothing a check should ever ask (server-side request forgery)."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CONNECTED = "connection.connect_tcp.complete"


def resolve_secret(reference: str) -> str:
    """The value behind ``env:NAME`` or ``file:PATH``; anything else is not a reference.

    It is in nothing that is told from then on. Raises ``Permanent`` (missing), never with the value in it.
    """
    value = _behind(reference)
    KNOWN.learn(value)
    return value


def learn_references(*values: Any) -> None:
    """Read every reference in these values now: somebody may repeat a secret before it is needed for the first time.

    One that leads nowhere is told when it is needed.
    """
    for text in texts(values):
        if is_reference(text):
            with contextlib.suppress(Permanent):
                resolve_secret(text)


def _behind(reference: str) -> str:
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise Permanent(f"secret {reference}: the environment has no {rest}", "missing")
        return value
    if kind == "file":
        try:
            return Path(rest).read_text().strip()
        except OSError as error:
            raise Permanent(f"secret {reference}: {error.strerror}", "missing") from None
        except UnicodeDecodeError:
            raise Permanent(f"secret {reference}: the file is no text", "invalid") from None
    raise Permanent("a secret is given by reference: env:NAME or file:PATH", "invalid")


def _literal(host: str) -> Address | None:
    """The address that a host spells, in every spelling that a resolver takes (``0xa9fea9fe``, ``::ffff:…``)."""
    text = host.strip("[]").rstrip(".")
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except OSError:
            return None
    return _inside(address)


def _inside(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, if it is of that kind."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def guard_address(host: str, allowed: frozenset[str], forbidden: Networks = METADATA_NETWORKS) -> None:
    """Raises ``Permanent`` (denied) for a literal link-local or metadata address that is not allowed by name.

    Names pass here; what they lead to is looked at when the connection is there.
    """
    if host in allowed:
        return
    address = _literal(host)
    if address is None:
        if host.rstrip(".").lower() in ("metadata.google.internal", "metadata"):
            raise Permanent(f"{host} is a metadata address; allow it in network.allow to ask it", "denied")
        return
    if any(address in network for network in forbidden if network.version == address.version):
        raise Permanent(f"{host} is a link-local or metadata address; allow it in network.allow to ask it", "denied")


@dataclass(frozen=True, slots=True)
class World:
    """The process's view of the outside."""

    registry: Registry
    http: httpx.AsyncClient
    services: Mapping[str, Service] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def probe(self, *, timeout_s: float = 30.0, key: str = "") -> LiveProbe:
        return LiveProbe(self, timeout_s, key)

    def services_of(self, tenant: str | None) -> dict[str, Service]:
        """Those of one tenant; of all when none is named."""
        return {name: one for name, one in self.services.items() if tenant is None or one.tenant == tenant}

    async def close(self) -> None:
        await self.http.aclose()


def make_client(allowed_hosts: Iterable[str] = (), forbidden: Networks = METADATA_NETWORKS) -> httpx.AsyncClient:
    """One client per process: no redirects to elsewhere, bounded pools, the address guard on every request.

    The guard is asked twice: by the host of the address, and by whom the connection reached, before a byte is sent.
    A name is resolved only once that way, so it cannot lead elsewhere in between.
    """
    allowed = frozenset(allowed_hosts)

    async def guard(request: httpx.Request) -> None:
        host = request.url.host
        guard_address(host, allowed, forbidden)
        if host in allowed:
            return

        async def reached(event: str, info: Mapping[str, Any]) -> None:
            if event == _CONNECTED:
                await _guard_peer(host, info["return_value"], allowed, forbidden)

        request.extensions = {**request.extensions, "trace": reached}

    return httpx.AsyncClient(
        verify=_trusted(),
        timeout=httpx.Timeout(30.0, connect=10.0),
        # Each request looks at all that are kept, and at each of them as often: with 50 that cost more than connecting.
        limits=httpx.Limits(max_connections=200, max_keepalive_connections=10, keepalive_expiry=30.0),
        follow_redirects=False,
        event_hooks={"request": [guard]},
        trust_env=False,
        headers={"user-agent": "quell"},
    )


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Whom everybody trusts. Read once per process: the list is long, and takes 30 ms."""
    return httpx.create_ssl_context(trust_env=False)


async def _guard_peer(host: str, stream: Any, allowed: frozenset[str], forbidden: Networks) -> None:
    """Hangs up on a forbidden address. Raises ``Permanent`` (denied)."""
    peer = stream.get_extra_info("server_addr")
    try:
        if not peer:
            raise Permanent(f"{host}: nobody can tell which address answers", "denied")
        guard_address(str(peer[0]), allowed, forbidden)
    except Permanent as error:
        await stream.aclose()
        raise Permanent(f"{host} leads to a forbidden address: {error}", "denied") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(names)) or 'none'}"


@dataclass(frozen=True, slots=True)
class LiveProbe:
    """The ``Probe`` of one call."""

    world: World
    timeout_s: float
    key: str = ""

    @property
    def http(self) -> httpx.AsyncClient:
        return self.world.http

    def now(self) -> datetime:
        return self.world.clock()

    def secret(self, reference: str) -> str:
        return resolve_secret(reference)

    def connection(self, name: str | None, *types: str) -> Connection:
        known = self.world.connections
        if name is not None:
            found = known.get(name)
            if found is None:
                raise Permanent(f"no connection {name!r}{_nearest(name, known)}", "missing")
            if types and found.type not in types:
                raise Permanent(f"connection {name!r} is {found.type}; {' or '.join(types)} is needed", "invalid")
            return found
        fits = [connection for connection in known.values() if connection.type in types]
        named = [connection for connection in fits if connection.name in (*types, "default")]
        if len(fits) == 1 or len(named) == 1:
            return (named or fits)[0]
        what = "no connection" if not fits else f"{len(fits)} connections"
        raise Permanent(f"{what} of type {' or '.join(types)}; name one{_nearest('', known)}", "missing")

    def service(self, name: str) -> Service:
        for service in self.world.services.values():
            if name == service.name or name in service.aliases:
                return service
        raise Permanent(f"no service {name!r} in the catalogue{_nearest(name, self.world.services)}", "missing")

    def fleet(self, service: str, region: str | None = None) -> Fleet:
        entry = self.service(service)
        drivers = []
        for choice in entry.drivers if region is None else _of_region(entry, region):
            kind = self.world.registry.driver(choice.type)
            try:
                config = kind.config.model_validate(choice.config)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"])
                raise Permanent(
                    f"service {service!r}, driver {choice.type}: {place}: {first['msg']}", "invalid"
                ) from None
            drivers.append(kind.connect(config, entry, self))
        return Fleet(entry.name, drivers, region or "")


def _of_region(entry: Service, region: str) -> list[DriverChoice]:
    """Raises ``Permanent`` (refused) where acting might reach another region than the one that is meant."""
    silent = [choice.type for choice in entry.drivers if not choice.region]
    if silent:
        raise Permanent(
            f"service {entry.name!r}: its drivers do not all say which region they serve ({', '.join(silent)}), "
            f"so nothing can be limited to {region!r}; write region beside their type",
            "refused",
        )
    found = [choice for choice in entry.drivers if choice.region == region]
    if not found:
        known = ", ".join(entry.driver_regions) or "none"
        raise Permanent(f"service {entry.name!r}: no driver serves region {region!r}; served are {known}", "refused")
    return found

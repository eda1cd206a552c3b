"""The configuration, ``quell.yaml``: typed, unknown keys refused, every problem reported with its place.

Only ``app`` and the faces read this; everybody below is handed values. Secrets are references (``env:``, ``file:``).
Never does: open what it names.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)  # fmt: skip

from quell import addresses
from quell.errors import InvalidInput, Permanent, Problem
from quell.incident.service import DriverChoice, Service
from quell.intake.per_source import SourceSettings as SourceSettings
from quell.intake.rules import Correlation, InhibitRule, Maintenance, Rules
from quell.ports import Connection
from quell.probe import resolve_secret
from quell.redact import KNOWN, is_reference
from quell.respond.concurrency import Shares
from quell.respond.rails import Guardrails
from quell.runbook.invalid import problems_of
from quell.runbook.quantities import seconds
from quell.runbook.source import Document, load
from quell.runbook.written import Written

Seconds = Annotated[float, BeforeValidator(seconds)]
DEFAULT_PORT = 8470


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """Where the server listens, and who is let in. Whatever is not public needs a token or a session.

    ``token``: a reference to one token for everything, beside those of ``quell token create``.
    """

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    """0 takes a free one."""
    base_url: str = ""
    """How people reach it, for links in messages."""
    token: str | None = None
    insecure: bool = False
    """Nobody is asked who they are. Only on loopback, for a try."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names that requests may come in under, beside its own."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=16 * 1_048_576)] = 1_048_576
    """A longer request is refused."""
    trigger_wait: Seconds = 30.0
    """How long ``POST /incidents/trigger`` waits for the diagnostics before it answers 202."""

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _guarded(self) -> ServerSettings:
        if self.insecure and not self.is_loopback:
            raise ValueError(f"insecure is for loopback only: whoever reaches {self.host} could do anything")
        if self.insecure and self.token is not None:
            raise ValueError("either a token or insecure: with both, the token would guard nothing")
        return self


class ConnectionSettings(Section):
    """A named way to a system. ``password``, ``token`` and header values are references."""

    type: str
    """What it is: ``prometheus``, ``postgresql``, ``redis``, ``http``, ``slack``, …"""
    url: str = ""
    """Its address; may be a reference."""
    username: str = ""
    """The user to log in as."""
    password: str | None = None
    token: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent along with HTTP requests."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Whatever the plug-ins of this type read."""

    def resolved(self, name: str) -> Connection:
        """With its secrets. Raises ``Permanent`` (missing) naming the reference only."""
        headers = {key: resolve_secret(value) if is_reference(value) else value for key, value in self.headers.items()}
        if self.token:
            headers["Authorization"] = f"Bearer {resolve_secret(self.token)}"
        password = resolve_secret(self.password) if self.password else ""
        url = resolve_secret(self.url) if is_reference(self.url) else self.url
        return Connection(name, self.type, url, self.username, password, headers, self.options)


class NotifierSettings(Section):
    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    """Which [notifier](notifiers.md); the other keys are its parameters."""

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ScheduleSettings(Section):
    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    """Which [schedule](schedules.md); the other keys are its parameters."""

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ServiceSettings(Section):
    """One service of the catalogue. ``driver`` is short for a single entry of ``drivers``."""

    aliases: tuple[str, ...] = ()
    """Other names that alerts use."""
    driver: DriverChoice | None = None
    drivers: tuple[DriverChoice, ...] = ()
    environment: str = ""
    """Where it runs."""
    tenant: str = "default"
    """Whose it is."""
    regions: tuple[str, ...] = ()
    """Where its replicas are."""
    tier: Annotated[int, Field(ge=0, le=9)] = 1
    """0 is what users touch first."""
    owner: str = ""
    """The team that may act on it; a group of that name is its people."""
    oncall: str = ""
    """Whom to ask when it hurts: a schedule, a group, or an address."""
    depends_on: tuple[str, ...] = ()
    """Services that it needs."""
    match: tuple[dict[str, str], ...] = ()
    """Labels that point to it; each entry is one way to fit, the most labels win."""

    @model_validator(mode="after")
    def _regions_are_known(self) -> Self:
        for choice in ((self.driver,) if self.driver else ()) + self.drivers:
            if choice.region and self.regions and choice.region not in self.regions:
                raise ValueError(
                    f"driver {choice.type}: {choice.region!r} is none of regions: {', '.join(self.regions)}"
                )
        return self

    def named(self, name: str) -> Service:
        given = self.model_dump(exclude={"driver", "drivers"})
        drivers = ((self.driver,) if self.driver else ()) + self.drivers
        return Service(name=name, drivers=drivers, **given)


class EngineSettings(Section):
    """How work is kept and looked for."""

    lease: Annotated[Seconds, Field(ge=0.5)] = 10.0
    """How long a process that is silent keeps its work; then another one goes on with it."""
    poll: Annotated[Seconds, Field(ge=0.05)] = 1.0
    """How often queues and waits are looked at."""
    drain: Annotated[Seconds, Field(ge=0, le=3600)] = 10.0
    """How long a process that is asked to end waits for actions that run."""
    places: Annotated[int, Field(ge=1, le=1000)] = 20
    """How many incidents a process works on at once; the others wait, the most severe first. An incident that waits
    itself, for an approval or a time, takes no place."""
    inbox: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """How many alerts may wait to be looked at, of one source half as many, of one of several tenants three quarters;
    then a sender is told to come again."""
    park: Annotated[Seconds, Field(ge=0)] = 10.0
    """After how long a wait leaves memory. It comes back, in whichever process is first, when there is something to
    do."""


class NetworkSettings(Section):
    """Hosts that checks may ask although the address guard would forbid them."""

    allow: tuple[str, ...] = ()
    """Hosts by name or address."""


class AuditSettings(Section):
    """Where signed checkpoints go, and the key that signs them. Both are better kept away from the database."""

    every: Annotated[Seconds, Field(ge=0)] = 3600.0
    """How often a server makes a checkpoint, if anything has happened; 0 leaves it to ``quell audit checkpoint``."""
    folder: Path = Path("audit")
    """Checkpoints, relative to this file."""
    key: Path = Path("audit.key")
    """An Ed25519 private key in PEM, relative to this file; made on first use, readable by its owner only."""


class RetentionSettings(Section):
    """How long the past is kept. What may never go, and what stays of what goes: [retention](../retention.md)."""

    keep: Annotated[float, BeforeValidator(seconds), Field(ge=86_400)] | None = None
    """What ended longer ago is pruned by a server, once a day; at least ``1d``. Left out, only ``quell prune`` does."""


class Settings(Section):
    database: str = "quell.db"
    """A SQLite file, or a ``postgresql://`` address for several machines: up to 45 connections for each process."""
    tenant: str = "default"
    """The tenant of alerts that name none."""
    environment: str = ""
    """What this installation looks after, such as ``production``."""
    region: str = ""
    """Where it stands."""
    scrape_interval: Seconds = 15.0
    """How often metrics are scraped, which is how late evidence may be."""
    escalation: str = ""
    """Whom to page where a runbook names nobody."""
    server: ServerSettings = ServerSettings()
    """Where it listens."""
    audit: AuditSettings = AuditSettings()
    """How it is shown that nobody changed the log."""
    retention: RetentionSettings = RetentionSettings()
    """How long the past is kept."""
    engine: EngineSettings = EngineSettings()
    """How work is kept and looked for."""
    network: NetworkSettings = NetworkSettings()
    """What checks may ask."""
    runbooks: tuple[str, ...] = ()
    """Files and folders, relative to this file."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Values for every runbook; they go before its own."""
    services: dict[str, ServiceSettings] = Field(default_factory=dict)
    """The catalogue: service by name."""
    connections: dict[str, ConnectionSettings] = Field(default_factory=dict)
    """Ways to systems, by name."""
    notifiers: dict[str, NotifierSettings] = Field(default_factory=dict)
    """Ways to people, by name."""
    groups: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """People by group: names as their tokens have them, other groups, or schedules."""
    schedules: dict[str, ScheduleSettings] = Field(default_factory=dict)
    """Who is on call, by the name of the schedule."""
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    """Where alerts come from, by the name in ``/webhooks/NAME``."""
    correlation: Correlation = Correlation()
    """Which alerts are one incident."""
    maintenance: tuple[Maintenance, ...] = ()
    """Times in which alerts are expected."""
    inhibit_rules: tuple[InhibitRule, ...] = ()
    """Which alerts keep others quiet that follow from them."""
    rate_limit: Shares | None = None
    """How many incidents of a tenant are worked on at once."""
    guardrails: Guardrails = Guardrails()
    """The outer limits of what actions may do."""
    folder: Path = Field(default=Path(), exclude=True)
    _written: Written = PrivateAttr(default_factory=Written)

    @field_validator("database")
    @classmethod
    def _readable(cls, value: str) -> str:
        if not value.startswith("sqlite") and (flaw := addresses.flaw(value)):
            raise ValueError(f"the address of the database: {flaw}")
        return value

    @field_validator("runbooks", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _people_have_one_name(self) -> Self:
        if both := sorted(self.groups.keys() & self.schedules.keys()):
            raise ValueError(f"groups and schedules share a name: {', '.join(both)}")
        if reserved := sorted({"oncall", "owner"} & {*self.groups, *self.schedules}):
            raise ValueError(f"{', '.join(reserved)}: it means what the catalogue says of a service; use another name")
        return self

    @field_validator("maintenance")
    @classmethod
    def _named_once(cls, value: tuple[Maintenance, ...]) -> tuple[Maintenance, ...]:
        names = [one.name for one in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two maintenance windows are called {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _paths_lead_to_one_source(self) -> Self:
        taken: dict[str, str] = {}
        for name, source in self.sources.items():
            if source.path is not None and (first := taken.setdefault(source.path, name)) != name:
                raise ValueError(f"sources.{name}.path: {source.path} is that of sources.{first} already")
        return self

    @property
    def digest(self) -> str:
        """The beginning of a digest of what decides how incidents are handled: the same for processes that do it alike.

        Secrets stand in the configuration as references only.
        """
        own = {"database", "server", "audit", "retention", "engine", "runbooks", "folder"}
        text = orjson.dumps(self.model_dump(mode="json", exclude=own), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()[:12]

    @property
    def tenants(self) -> set[str]:
        """All that it names."""
        of_services = {service.tenant for service in self.services.values()}
        return {self.tenant, *of_services, *(source.tenant for source in self.sources.values() if source.tenant)}

    @property
    def intake_rules(self) -> Rules:
        return Rules(
            correlation=self.correlation, maintenance=self.maintenance, inhibit_rules=self.inhibit_rules
        )  # fmt: skip

    @property
    def runbook_paths(self) -> list[Path]:
        """Relative to the file that names them."""
        return [self.folder / path for path in self.runbooks]

    @property
    def catalogue(self) -> dict[str, Service]:
        return {name: service.named(name) for name, service in self.services.items()}

    @property
    def circles(self) -> tuple[str, ...]:
        """Names that stand for people: groups and schedules."""
        return (*self.groups, *self.schedules)

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """With the lines of the file, where only the path is known."""
        return self._written.located(problems)

    def resolved_connections(self) -> dict[str, Connection]:
        """Raises ``InvalidInput`` naming every reference that leads nowhere and every address that cannot be read."""
        found, problems = {}, []
        for name, connection in self.connections.items():
            try:
                found[name] = connection.resolved(name)
            except Permanent as error:
                problems.append(Problem(str(error), "secret", path=f"connections.{name}"))
        problems += [problem for connection in found.values() for problem in _unreadable(connection)]
        if problems:
            raise InvalidInput(problems)
        return found


def _unreadable(connection: Connection) -> Iterator[Problem]:
    """The addresses of a connection that mean something else than was meant; never with a part of them."""
    vantages = connection.options.get("vantages")
    named = vantages.items() if isinstance(vantages, Mapping) else ()
    for place, url in (("url", connection.url), *((f"options.vantages.{key}", str(value)) for key, value in named)):
        if connection.type != "sqlite" and (flaw := addresses.flaw(url)):
            path = f"connections.{connection.name}.{place}"
            yield Problem(f"the address of connection {connection.name!r}: {flaw}", "address", path=path)


def parse_settings(text: str, file: str, folder: Path) -> Settings:
    """Raises ``InvalidInput`` with every problem."""
    documents = load(text, file)
    document = documents[0] if documents else Document({}, {}, file)
    try:
        settings = Settings.model_validate(document.data or {})
    except ValidationError as error:
        raise InvalidInput(problems_of(error, document, Settings)) from None
    KNOWN.learn_in(document.data or {})  # what should have been a reference, and a login in an address
    settings = settings.model_copy(update={"folder": folder})
    settings._written = Written.of(document)
    return settings


def load_settings(path: Path | None) -> Settings:
    """The file, or the defaults when there is none. Raises ``InvalidInput``."""
    if path is None:
        return Settings()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Problem(f"cannot be read: {error}", "unreadable", str(path))]) from None
    return parse_settings(text, str(path), path.parent)

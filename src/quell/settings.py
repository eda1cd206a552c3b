"""The configuration, ``quell.yaml``: typed, unknown keys refused, every problem reported with its place.

Only ``app`` and the faces read this; everybody below is handed values. Secrets are references (``env:``, ``file:``).
Never does: open what it names.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from quell.errors import InvalidInput, Permanent, Problem
from quell.incident.service import DriverChoice, Service
from quell.ports import Connection
from quell.probe import resolve_secret
from quell.respond.guard import Guardrails
from quell.runbook.invalid import problems_of
from quell.runbook.quantities import seconds
from quell.runbook.source import Document, load

Seconds = Annotated[float, BeforeValidator(seconds)]
DEFAULT_PORT = 8470


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """Where the server listens. ``token``: a reference; without one only loopback is served."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    base_url: str = ""
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: Annotated[int, Field(ge=1024, le=16 * 1_048_576)] = 1_048_576
    trigger_wait: Seconds = 30.0

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
        if not self.is_loopback and self.token is None:
            raise ValueError("a server that listens beyond loopback needs a token (server.token: env:NAME)")
        return self


class ConnectionSettings(Section):
    """A named way to a system. ``password``, ``token`` and header values are references."""

    type: str
    url: str = ""
    username: str = ""
    password: str | None = None
    token: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)

    def resolved(self, name: str) -> Connection:
        """With its secrets. Raises ``Permanent`` (missing) naming the reference only."""
        headers = {key: resolve_secret(value) if _is_reference(value) else value for key, value in self.headers.items()}
        if self.token:
            headers["Authorization"] = f"Bearer {resolve_secret(self.token)}"
        password = resolve_secret(self.password) if self.password else ""
        url = resolve_secret(self.url) if _is_reference(self.url) else self.url
        return Connection(name, self.type, url, self.username, password, headers, self.options)


def _is_reference(text: str) -> bool:
    return text.startswith(("env:", "file:"))


class NotifierSettings(Section):
    model_config = ConfigDict(extra="allow", frozen=True)

    type: str

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class SourceSettings(Section):
    model_config = ConfigDict(extra="allow", frozen=True)

    type: str | None = None

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ServiceSettings(Section):
    """One service of the catalogue. ``driver`` is short for a single entry of ``drivers``."""

    aliases: tuple[str, ...] = ()
    driver: DriverChoice | None = None
    drivers: tuple[DriverChoice, ...] = ()
    environment: str = ""
    tenant: str = "default"
    regions: tuple[str, ...] = ()
    tier: Annotated[int, Field(ge=0, le=9)] = 1
    owner: str = ""
    oncall: str = ""
    depends_on: tuple[str, ...] = ()
    match: tuple[dict[str, str], ...] = ()

    def named(self, name: str) -> Service:
        given = self.model_dump(exclude={"driver", "drivers"})
        drivers = ((self.driver,) if self.driver else ()) + self.drivers
        return Service(name=name, drivers=drivers, **given)


class EngineSettings(Section):
    """``lease``: how long a silent worker keeps its work. ``poll``: how often queues and waits are looked at."""

    lease: Seconds = 10.0
    poll: Seconds = 1.0


class NetworkSettings(Section):
    """Hosts that checks may ask although the address guard would forbid them."""

    allow: tuple[str, ...] = ()


class Settings(Section):
    database: str = "quell.db"
    tenant: str = "default"
    environment: str = ""
    region: str = ""
    scrape_interval: Seconds = 15.0
    escalation: str = ""
    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    network: NetworkSettings = NetworkSettings()
    runbooks: tuple[str, ...] = ()
    variables: dict[str, Any] = Field(default_factory=dict)
    services: dict[str, ServiceSettings] = Field(default_factory=dict)
    connections: dict[str, ConnectionSettings] = Field(default_factory=dict)
    notifiers: dict[str, NotifierSettings] = Field(default_factory=dict)
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    guardrails: Guardrails = Guardrails()
    folder: Path = Field(default=Path(), exclude=True)

    @field_validator("runbooks", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def runbook_paths(self) -> list[Path]:
        """Relative to the file that names them."""
        return [self.folder / path for path in self.runbooks]

    @property
    def catalogue(self) -> dict[str, Service]:
        return {name: service.named(name) for name, service in self.services.items()}

    def resolved_connections(self) -> dict[str, Connection]:
        """Raises ``InvalidInput`` naming every reference that leads nowhere."""
        found, problems = {}, []
        for name, connection in self.connections.items():
            try:
                found[name] = connection.resolved(name)
            except Permanent as error:
                problems.append(Problem(str(error), "secret", path=f"connections.{name}"))
        if problems:
            raise InvalidInput(problems)
        return found


def parse_settings(text: str, file: str, folder: Path) -> Settings:
    """Raises ``InvalidInput`` with every problem."""
    documents = load(text, file)
    document = documents[0] if documents else Document({}, {}, file)
    try:
        settings = Settings.model_validate(document.data or {})
    except ValidationError as error:
        raise InvalidInput(problems_of(error, document, Settings)) from None
    return settings.model_copy(update={"folder": folder})


def load_settings(path: Path | None) -> Settings:
    """The file, or the defaults when there is none. Raises ``InvalidInput``."""
    if path is None:
        return Settings()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Problem(f"cannot be read: {error}", "unreadable", str(path))]) from None
    return parse_settings(text, str(path), path.parent)

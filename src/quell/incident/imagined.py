"""An alert that nobody sent: what somebody imagines, to be told what would follow from it.

Service, severity, environment and region are read from the labels of those names where they are not said, as the
sources do that bring labels. Never does: decide what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quell.incident.alert import Alert, AlertStatus, Severity, fingerprint_of, severity_of

_NOT_ASKED = frozenset(
    {
        "startsAt", "endsAt", "generatorURL", "starts_at", "ends_at", "received_at", "url", "details", "tenant",
        "schema_version",
    }
)  # fmt: skip
"""What an alert has where Alertmanager sends it or ``quell alerts list --json`` shows it, and decides nothing here."""


def _severity(given: Any) -> Any:
    if given is None or given == "" or isinstance(given, Severity):
        return given or None
    if isinstance(given, str) and (found := severity_of(given)) is not None:
        return found
    raise ValueError("it is no severity: P1 to P4, or a word such as critical, error, warning, info")


class Imagined(BaseModel):
    """As much of an alert as is known. What is left out is as if no source had said it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", max_length=500)
    """By default the label ``alertname``."""
    source: str = Field(default="alertmanager", min_length=1, max_length=200)
    """As the configuration calls it."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=200)
    annotations: dict[str, str] = Field(default_factory=dict, max_length=200)
    severity: Annotated[Severity | None, BeforeValidator(_severity)] = None
    """P1 to P4, or a word for one; by default what the label ``severity`` says."""
    service: str | None = Field(default=None, max_length=200)
    environment: str = Field(default="", max_length=200)
    region: str = Field(default="", max_length=200)
    status: AlertStatus = AlertStatus.FIRING
    fingerprint: str = Field(default="", max_length=200)
    """Of an alert that is known, to ask what its next word would do; by default made from the labels."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_is_sent(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            return {name: value for name, value in given.items() if name not in _NOT_ASKED}
        return given

    @model_validator(mode="after")
    def _has_a_name(self) -> Imagined:
        if not (self.name or self.labels.get("alertname")):
            raise ValueError("an alert has a name: give the label alertname, or name")
        return self

    def alert(self, now: datetime, tenant: str = "default") -> Alert:
        """As a source would have made it."""
        labels = self.labels
        return Alert(
            source=self.source, name=self.name or labels["alertname"], status=self.status, tenant=tenant,
            fingerprint=self.fingerprint or fingerprint_of(labels), labels=labels, annotations=self.annotations,
            severity=self.severity or severity_of(labels.get("severity")),
            service=self.service or labels.get("service") or None,
            environment=self.environment or labels.get("environment", ""),
            region=self.region or labels.get("region", ""), received_at=now,
        )  # fmt: skip

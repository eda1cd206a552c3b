"""What every source that has labels lets a site say about them. Never does: read a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from quell.incident.alert import severity_of
from quell.ports import Params

DEFAULT_SERVICE_LABELS = ("service",)


class Labelled(Params):
    """``labels`` are added where an alert lacks them; ``service_labels``: the first that is there names the service."""

    tenant: str = "default"
    """Whose its alerts are; left out, the site's ``tenant``."""
    labels: dict[str, str] = Field(default_factory=dict)
    severity_label: str = "severity"
    """The label that says how bad it is: critical, warning, P1, …"""
    service_labels: tuple[str, ...] = DEFAULT_SERVICE_LABELS
    environment_label: str = "environment"
    """The label that names the environment."""
    region_label: str = "region"
    """The label that names the region."""

    def place(self, labels: Mapping[str, str]) -> dict[str, Any]:
        """``tenant``, ``environment``, ``region``, ``service`` and ``severity`` of an alert with these labels."""
        return {
            "tenant": self.tenant, "environment": labels.get(self.environment_label, ""),
            "region": labels.get(self.region_label, ""),
            "service": next((labels[name] for name in self.service_labels if labels.get(name)), None),
            "severity": severity_of(labels.get(self.severity_label)),
        }  # fmt: skip

    def place_by_site(self) -> dict[str, str]:
        """``environment`` and ``region`` by ``labels`` alone.

        They are part of what tells alerts apart, so they must not come from what a sender leaves out later: an alert
        that fired in ``production`` would never resolve.
        """
        return {
            "environment": self.labels.get(self.environment_label, ""),
            "region": self.labels.get(self.region_label, ""),
        }  # fmt: skip


def listed(value: Any) -> Any:
    """One reference stands for a list of it."""
    return (value,) if isinstance(value, str) else value

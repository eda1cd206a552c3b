"""Parameter types that several actions share: spans of time, sizes, and the service that is acted on.

Never does: accept a unit that it does not know, or act on a service of another environment than the one written.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from quell.errors import Permanent
from quell.ports import Params, Probe

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(B|kB|KB|MB|GB|KiB|MiB|GiB)")
_SIZES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(rf"(?:{_PART.pattern})+", value):
        raise ValueError(f"{value!r} is not a span of time such as 500ms, 30s or 1m30s")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if not found:
        raise ValueError(f"{value!r} is not a size such as 64KiB or 16MB")
    return int(float(found[1]) * _SIZES[found[2]])


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=31_536_000, allow_inf_nan=False)]
"""Seconds, written as a number or as text with units."""

Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]
"""Bytes, written as a number or as text with an IEC 80000-13 unit."""


class ServiceParams(Params):
    """Parameters of an action on a service of the catalogue.

    ``service`` may be spelled ``deployment`` or ``target``, or be the whole value: ``restart_service: payment``.
    ``namespace`` and ``environment`` are not a choice but a claim: they must be the catalogue's.
    """

    service: str = Field(min_length=1, validation_alias=AliasChoices("service", "deployment", "target"))
    """The service of the catalogue."""
    namespace: str | None = None
    """Refused when the catalogue says another."""
    environment: str | None = None
    """Refused when the catalogue says another."""
    region: str | None = Field(default=None, min_length=1)
    """Just the replicas of this region, by the drivers that serve it; in a `for_each` over `region`, that one."""

    @model_validator(mode="before")
    @classmethod
    def _just_the_name(cls, value: Any) -> Any:
        return {"service": value} if isinstance(value, str) else value


def check_place(params: ServiceParams, probe: Probe) -> None:
    """Raises ``Permanent`` (refused) when the runbook means another environment or namespace than the catalogue."""
    entry = probe.service(params.service)
    if params.environment and entry.environment and params.environment != entry.environment:
        raise Permanent(
            f"service {entry.name!r} is in environment {entry.environment!r}, the runbook says {params.environment!r}",
            "refused",
        )
    known = {str(choice.config["namespace"]) for choice in entry.drivers if choice.config.get("namespace")}
    if params.namespace and known and params.namespace not in known:
        raise Permanent(
            f"service {entry.name!r} is in namespace {', '.join(sorted(known))}, the runbook says {params.namespace!r}",
            "refused",
        )

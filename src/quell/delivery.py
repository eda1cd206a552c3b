"""What a source is sent: as it came, as it was read, and what became of it. Never does: read, store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quell.incident.alert import Alert


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a webhook's alerts. All of it is on disk. ``ignored``: what it was, when it said nothing of any.
    ``noted``: what it was, and what was done about it. ``fingerprints``: of what was accepted, in its order."""

    accepted: int
    incidents: tuple[str, ...]
    quarantined: tuple[str, ...] = ()
    ignored: str | None = None
    noted: str | None = None
    fingerprints: tuple[str, ...] = ()
    queued: bool = False
    """It waits in the inbox: what follows from it is not known yet."""
    heartbeats: int = 0
    """Of what was accepted, what only says that its source lives."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Receipt:
        """As its fields were committed."""
        return cls(
            told["accepted"], tuple(told["incidents"]), tuple(told["quarantined"]),
            fingerprints=tuple(told["fingerprints"]), queued=bool(told.get("queued")),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a source was sent, as it was read. ``bad``: (reason, fragment). ``name``: what the sender calls it."""

    source: str
    alerts: Sequence[Alert]
    bad: Sequence[tuple[str, Any]] = ()
    name: str | None = None
    ignored: str | None = None
    noted: str | None = None
    signature: str = ""
    """How its sender was known: what is shown where somebody asks why."""
    signs: Sequence[Alert] = ()
    """Alerts that only say that the source lives: they are none of ``alerts``."""
    beats: bool = False
    """That it came is all that it says, or part of it: it is written down before its sender is answered."""

    @property
    def says_no_more(self) -> bool:
        return self.beats and not self.alerts and not self.bad

    def told(self, receipt: Receipt) -> Receipt:
        """With the signs of life among what was accepted."""
        if not self.beats:
            return receipt
        fingerprints = (*(alert.fingerprint for alert in self.signs), *receipt.fingerprints)
        accepted = receipt.accepted + len(self.signs)
        return replace(
            receipt, accepted=accepted, fingerprints=fingerprints, heartbeats=max(len(self.signs), 1)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Letter:
    """A body that is believed and not read yet. ``size``: how many alerts are in it."""

    tenant: str
    source: str
    size: int
    received_at: int
    """In microseconds since 1970, UTC."""
    signature: str
    body: bytes

    @property
    def row(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "tenant": self.tenant, "source": self.source, "size": self.size, "signature": self.signature,
            "received_at": self.received_at, "body": self.body,
        }  # fmt: skip

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Letter:
        return cls(
            row["tenant"], row["source"], row["size"], row["received_at"], row["signature"], bytes(row["body"])
        )  # fmt: skip

"""What a driver answers when it is asked for something that it never declared.

Never does: act. A driver inherits the refusals and overrides what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from quell.errors import Permanent
from quell.fleet import Release, ServiceState


class Incapable:
    """Every method of a ``Driver``, each refused: ``Permanent`` (denied)."""

    def _refuse(self, what: str) -> NoReturn:
        raise Permanent(f"the driver {type(self).__name__.lower()} cannot {what}", "denied")

    async def state(self) -> ServiceState:
        self._refuse("tell the state")

    async def restart(self, replicas: Sequence[str] = ()) -> str:
        self._refuse("restart")

    async def scale(self, to: int) -> str:
        self._refuse("scale")

    async def releases(self) -> tuple[Release, ...]:
        self._refuse("list releases")

    async def rollback(self, to: str) -> str:
        self._refuse("roll back")

    async def drain(self, replica: str) -> str:
        self._refuse("drain")

    async def undrain(self, replica: str) -> str:
        self._refuse("undrain")

    async def certificate(self, path: str, pem: str) -> str:
        self._refuse("replace a certificate")

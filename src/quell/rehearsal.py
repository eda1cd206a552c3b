"""What would follow from an alert, by the configuration and the runbooks alone: no server, no database.

The alert walks the way of every other, next to a state in which nothing has ever happened: no incident is open, no
other alert fires, nobody has made a silence. Maintenance windows, services and runbooks are the site's own.
Never does: store anything, reach anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import sqlalchemy as sa

from quell.incident.imagined import Imagined
from quell.reception import Reception
from quell.registry import Registry
from quell.runbook.plan import Plan
from quell.settings import Settings
from quell.store.schema import metadata
from quell.telling.why import Why


def rehearse(settings: Settings, plans: Iterable[Plan], imagined: Imagined, now: datetime | None = None) -> Why:
    """``now``: when it would come, for windows of maintenance."""
    now = now or datetime.now(UTC)
    engine = sa.create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            metadata.create_all(connection)
            reception = Reception(settings, Registry())
            alert = reception.ours(imagined.alert(now, settings.tenant))
            return reception.foreseen(connection, settings.catalogue, now, alert, plans)
    finally:
        engine.dispose()

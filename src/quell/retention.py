"""Retention as a use case: what ended long enough ago is erased, or told. Works beside a server or without one.

In blocks, each a transaction of its own that also records what it erased: cut off anywhere, the log is right and the
next one goes on. What is erased was attested before, by a checkpoint. Never does: delete a checkpoint or a row of the
log; hold a rule about what may go.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from quell.engine.retention import Workflows
from quell.errors import InvalidInput, NotFound, Problem, Unavailable
from quell.incident.keys import incident_of
from quell.incident.retention import Spared
from quell.respond.people import named
from quell.respond.rails import Guardrails
from quell.respond.windows import longest_s
from quell.runbook.plan import Plan
from quell.runbook.quantities import spoken
from quell.runbook.vocabulary import nearest
from quell.settings import Settings
from quell.store import prune, sweeps
from quell.store.database import Database, normalise_url
from quell.store.events import when
from quell.store.migrate import HEAD, version_of
from quell.store.prune import Cut, Due, Tally
from quell.store.readonly import ReadOnly
from quell.store.schema import plans, quarantine, streams
from quell.store.sweeps import Page, Sweep

T = TypeVar("T")
P = ParamSpec("P")
DAY_S = 86_400.0
BATCH = 200
"""Incidents in one transaction."""
BREATH_S = 0.02
"""Between two blocks others get to write."""
TRIES, WAIT_S = 5, 1.0
"""A block that met a database that is busy is asked for again."""


@dataclass(slots=True)
class Pruning:
    """What was erased, or would be: rows by what they are, and the incidents that are kept by why."""

    before: datetime
    dry_run: bool
    erased: Tally = field(default_factory=Tally)
    kept: Counter[str] = field(default_factory=Counter)
    oldest: datetime | None = None
    newest: datetime | None = None
    """When the first and the last of the incidents ended."""
    checkpoint: str | None = None
    """The one that was made before; None when the one before it says the same."""

    def take(self, found: Collection[Due], verdicts: Mapping[str, Spared | None]) -> list[str]:
        """The names of those that go."""
        self.kept.update(why.value for why in verdicts.values() if why is not None)
        gone = [one for one in found if one.id in verdicts and verdicts[one.id] is None]
        if gone:
            self.oldest = self.oldest or when(gone[0].ended_at)
            self.newest = when(gone[-1].ended_at)
        return [one.id for one in gone]

    @property
    def told(self) -> dict[str, Any]:
        """As data."""
        found = {"oldest": self.oldest, "newest": self.newest}
        return {
            "dry_run": self.dry_run, "before": self.before.isoformat(), "erased": dict(self.erased),
            "kept": dict(self.kept), **{name: at.isoformat() if at else None for name, at in found.items()},
            "checkpoint": self.checkpoint,
        }  # fmt: skip


class Retention:
    """Of the installation that these settings describe. ``longest_s``: how far back any guardrail counts.

    ``tenant``: of that one alone.
    """

    def __init__(self, settings: Settings, longest_s: float, tenant: str | None = None) -> None:
        self._settings, self._longest_s, self._tenant = settings, longest_s, tenant

    def look(self, older_s: float) -> Pruning:
        """What would be erased. Raises ``InvalidInput``, ``NotFound``, ``Unavailable``."""
        with self._opened(older_s) as work:
            return work.look()

    def prune(self, older_s: float, by: str, told: Callable[[Tally], None] = lambda erased: None) -> Pruning:
        """Erase it. ``told``: how far it is, after each block. Raises the same; what was erased until then is gone."""
        named(by)
        with self._opened(older_s, by) as work:
            made: str | None = None
            with contextlib.suppress(FileExistsError):  # somebody else has just attested the same
                from quell.audit import Audit  # as in housekeeping: what signs takes 8 MB

                path = Audit(self._settings).checkpoint()
                made = str(path) if path else None
            done = work.prune(told)
            done.checkpoint = made
            return done

    @contextlib.contextmanager
    def _opened(self, older_s: float, by: str = "") -> Iterator[_Work]:
        if older_s < DAY_S:
            found, least = spoken(older_s), "the youngest that is pruned is a day old"
            raise InvalidInput([Problem(least, "too-young", path="older_than", found=found, expected="1d or more")])
        url = normalise_url(self._settings.database)
        try:
            with ReadOnly(url) as connection:  # makes no file where there is none
                if (version := version_of(connection)) != HEAD:
                    flaw = f"the database is at version {version}, not {HEAD}: start a server of this version first"
                    raise Unavailable(flaw)
        except FileNotFoundError as error:
            raise NotFound("database", str(error.filename)) from None
        database = Database(url)
        try:
            yield _Work(database, self._cuts(database, older_s, by), self._tenant)
        finally:
            database.close()

    def _cuts(self, database: Database, older_s: float, by: str) -> list[Cut]:
        """One for each tenant, by the database's clock; the first is that of what belongs to nobody."""
        tenants, now_us, stored = database.read_now(lambda c: (_tenants(c), database.now_us(c), _stored(c)))
        if self._tenant is not None and self._tenant not in tenants:
            raise NotFound("tenant", self._tenant, nearest(self._tenant, tenants))
        counted_s = max(self._longest_s, longest_s(Guardrails(), stored))
        before_us = now_us - int(older_s * 1_000_000)
        ledger_us = min(before_us, now_us - int(counted_s * 1_000_000))
        own = self._tenant or self._settings.tenant
        chosen = [own, *sorted(tenants - {own})] if self._tenant is None else [own]
        return [Cut(tenant, before_us, ledger_us, by) for tenant in chosen]


def _tenants(connection: sa.Connection) -> set[str]:
    return {
        name
        for table in (streams, quarantine)
        for name in connection.execute(sa.select(table.c.tenant).distinct()).scalars()
    }


def _stored(connection: sa.Connection) -> list[Plan]:
    """Plans that may still be carried out, also those whose runbook has changed since."""
    return [Plan.model_validate_json(text) for text in connection.execute(sa.select(plans.c.plan)).scalars()]


class _Work:
    """One pass over one open database."""

    def __init__(self, database: Database, cuts: list[Cut], tenant: str | None) -> None:
        self._database, self._cuts, self._tenant = database, cuts, tenant
        self._workflows = Workflows(database.engine)

    def look(self) -> Pruning:
        """As ``prune``, and nothing is written: what was found counts as gone for what hangs on it."""
        told, gone = Pruning(self._cuts[0].before, dry_run=True), set[str]()
        for cut in self._cuts:
            for due in self._due(cut):
                names = told.take(due, self._read(self._judged, cut=cut, names=[one.id for one in due]))
                payloads = self._read(prune.payloads, cut=cut, names=names)
                told.erased.update({"incidents": len(names), "payloads": payloads})
                gone |= set(names)
        for cut, sweep in self._sweeps():
            for _, page in self._pages(cut, sweep, gone):
                told.erased[sweep.what] += len(page.names)
        told.erased["workflows"] = sum(map(len, self._left_behind(gone)))
        told.erased = +told.erased
        return told

    def prune(self, told: Callable[[Tally], None]) -> Pruning:
        done = Pruning(self._cuts[0].before, dry_run=False)

        def went(erased: Mapping[str, int]) -> None:
            done.erased.update(erased)
            told(done.erased)
            time.sleep(BREATH_S)

        for cut in self._cuts:
            for due in self._due(cut):
                tally, verdicts = self._write(
                    prune.prune, cut=cut, names=[one.id for one in due], running=self._running
                )
                done.take(due, verdicts)
                went(tally)
        for cut, sweep in self._sweeps():
            # Where nothing is old, no writer is kept waiting to be told so.
            for after, page in self._pages(cut, sweep, frozenset()):
                if page.names:
                    went({sweep.what: self._write(sweeps.carry_out, cut=cut, sweep=sweep, after=after)})
        for block in self._left_behind(frozenset()):
            erased = {"workflows": self._workflows.delete(block)}
            self._write(prune.record, cut=self._cuts[0], erased=erased)
            went(erased)
        done.erased = +done.erased
        return done

    def _due(self, cut: Cut) -> Iterator[list[Due]]:
        after: Due | None = None
        while due := self._read(prune.due, cut=cut, after=after, limit=BATCH):
            yield due
            after = due[-1]

    def _judged(self, connection: sa.Connection, cut: Cut, names: list[str]) -> dict[str, Spared | None]:
        return prune.judged(connection, cut, names, self._running(connection))

    def _running(self, connection: sa.Connection) -> set[str]:
        names = (incident_of(workflow) for workflow in self._workflows.going_on(connection))
        return {name for name in names if name is not None}

    def _sweeps(self) -> Iterator[tuple[Cut, Sweep]]:
        yield from ((cut, sweep) for cut in self._cuts for sweep in sweeps.SWEEPS)
        yield self._cuts[0], sweeps.PLANS

    def _pages(self, cut: Cut, sweep: Sweep, gone: Collection[str]) -> Iterator[tuple[object, Page]]:
        after: object = None
        while True:
            page = self._read(sweep.find, cut, gone, after)
            yield after, page
            if (after := page.after) is None:
                return

    def _left_behind(self, gone: Collection[str]) -> Iterator[list[str]]:
        """Workflows that ended and whose incident is no more, block by block."""
        before_us, after = self._cuts[0].before_us, ""
        while found := self._read(self._workflows.ended, before_us=before_us, after=after, limit=sweeps.BLOCK):
            if mine := self._read(sweeps.left_behind, tenant=self._tenant, workflows=found, gone=gone):
                yield mine
            after = found[-1]

    def _read(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
        return self._database.read_now(lambda connection: work(connection, *args, **more))

    def _write(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return self._database.write_now(lambda connection: work(connection, *args, **more))
            except Unavailable:
                time.sleep(WAIT_S)
        return self._database.write_now(lambda connection: work(connection, *args, **more))

"""A source as a site configures it: its kind, its parameters, and everything that is wrong with them.

Never does: read what it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from quell.errors import InvalidInput, NotFound, Problem
from quell.intake import per_source
from quell.intake.heartbeat import Place
from quell.intake.per_source import UNSAID, SourceSettings
from quell.ports import SourceType
from quell.registry import Registry
from quell.runbook.invalid import problems_of
from quell.runbook.quantities import spoken
from quell.runbook.source import Document
from quell.runbook.vocabulary import nearest
from quell.settings import Settings


def faults(settings: Settings, registry: Registry) -> Iterator[Problem]:
    """Of every source that is configured."""
    for name in settings.sources:
        try:
            read(settings, registry, name)
        except NotFound as error:
            yield _unknown(name, error, registry)
        except InvalidInput as error:
            yield from error.problems


def read(settings: Settings, registry: Registry, source: str) -> tuple[SourceType, Any]:
    """What kind of source it is, with its parameters. Raises ``NotFound`` (kind), ``InvalidInput`` with every fault."""
    said = settings.sources.get(source, UNSAID)
    kind = registry.source(said.type or source)
    given = said.params_for(kind.params.model_fields, settings.tenant)
    problems, params = [*_flaws(said, source, kind, settings), *_flaws_of_expect(said, source, kind, settings)], None
    try:
        params = kind.params.model_validate(given)
    except ValidationError as error:
        problems = [*_faults(error, source, given, kind), *problems]
    if problems:
        raise InvalidInput(problems)
    return kind, params


def place_of(settings: Settings, registry: Registry, source: str) -> Place:
    """Whose and where it is, with the labels that each of its alerts has. Raises as ``read``."""
    said = settings.sources.get(source, UNSAID)
    _, params = read(settings, registry, source)
    given = getattr(params, "labels", None) or said.labels or {}
    labels = {name: value for name, value in given.items() if isinstance(value, str)}  # others say where they stand
    environment = labels.get(getattr(params, "environment_label", "environment")) or settings.environment
    region = labels.get(getattr(params, "region_label", "region")) or settings.region
    return Place(source, said.tenant or settings.tenant, environment, region, labels)


def _flaws(said: SourceSettings, source: str, kind: SourceType, settings: Settings) -> Iterator[Problem]:
    """What is wrong with what a site says of it beside the parameters of its kind."""
    most_bytes = settings.server.max_body_bytes
    if said.labels and "labels" not in kind.params.model_fields:
        for label, what in per_source.flaws_of_labels(said.labels):
            yield Problem(what, "wrong-value", path=f"sources.{source}.labels.{label}", found=repr(said.labels[label]))
    if said.dedup is not None and kind.by_id:
        yield Problem(
            f"{kind.name} names an alert by its id alone when it ends, so labels cannot tell its alerts apart",
            "dedup", path=f"sources.{source}.dedup", expected="no dedup",
        )  # fmt: skip
    if said.max_body_bytes is not None and said.max_body_bytes > most_bytes:
        yield Problem(
            "longer than the server reads", "wrong-value", path=f"sources.{source}.max_body_bytes",
            found=str(said.max_body_bytes), expected=f"at most server.max_body_bytes, {most_bytes}",
        )  # fmt: skip


def _flaws_of_expect(said: SourceSettings, source: str, kind: SourceType, settings: Settings) -> Iterator[Problem]:
    """What would never be missed, and what would be missed at once."""
    expect, path = said.expect, f"sources.{source}.expect"
    if expect is None:
        if kind.heartbeat:
            yield Problem(
                "nobody would miss it: it has nothing but its heartbeat", "expect", path=path,
                expected="how often it is heard, such as every 5m",
            )  # fmt: skip
        return
    if expect.every < settings.engine.poll:
        yield Problem(
            "shorter than Quell looks: it would be late from one look to the next", "expect", path=f"{path}.every",
            found=spoken(expect.every), expected=f"at least engine.poll, {spoken(settings.engine.poll)}",
        )  # fmt: skip
    if expect.alerts and kind.heartbeat:
        yield Problem(
            f"{kind.name} has no alerts that could match: whatever comes counts", "expect", path=f"{path}.alerts",
            expected="no alerts",
        )  # fmt: skip
    if expect.service is not None and settings.services and expect.service not in settings.services:
        yield Problem(
            f"no service {expect.service!r}", "unknown-service", path=f"{path}.service", found=expect.service,
            expected="a service of the catalogue", nearest=nearest(expect.service, settings.services),
        )  # fmt: skip


def _faults(error: ValidationError, source: str, given: dict[str, Any], kind: SourceType) -> Iterator[Problem]:
    """By the names of all keys that may stand there: those of every source, too."""
    for problem in problems_of(error, Document(given), kind.params):
        path = f"sources.{source}.{problem.path}".removesuffix(".")
        if problem.rule == "unknown-key" and problem.path == problem.found:
            names = list(dict.fromkeys((*kind.params.model_fields, *per_source.KEYS)))
            near = nearest(problem.found or "", names)
            yield replace(problem, path=path, expected="one of " + ", ".join(names), nearest=near)
        else:
            yield replace(problem, path=path)


def _unknown(source: str, error: NotFound, registry: Registry) -> Problem:
    expected = f"one of {', '.join(sorted(registry.sources))}"
    return Problem(
        f"no kind of source is called {error.name!r}", "unknown-source", path=f"sources.{source}.type",
        found=error.name, expected=expected, nearest=error.nearest,
    )  # fmt: skip

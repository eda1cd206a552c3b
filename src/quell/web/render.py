"""Templates into HTML. Autoescape is always on; a page names its files with the hash of their content.

Never does: ask the App, decide what is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from quell import __version__
from quell.runbook.quantities import spoken
from quell.telling.pruned import kept, sentence
from quell.web import words

HERE = Path(__file__).parent
STATIC = HERE / "static"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.globals |= {"version": __version__, "static": static, "you": words.YOU, "others": words.OTHERS}
    environment.filters |= {
        "span": words.span, "clock": words.clock, "tone": words.tone, "listed": words.listed,
        "labels": words.labels_of, "receivers": words.receivers, "iso": iso, "utc": utc, "shown": shown,
        "spoken": spoken, "path": path, "pruned": pruned, "kept": kept,
    }  # fmt: skip
    return environment


@cache
def static(name: str) -> str:
    """The address of a static file; it changes with the content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"


def render(template: str, **values: Any) -> str:
    """A template with values; ``now`` is the time of rendering, UTC."""
    return _environment().get_template(template).render(now=datetime.now(UTC), **values)


def iso(at: datetime) -> str:
    """For ``<time datetime>``: UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(at: datetime | str | None) -> datetime | None:
    """Times come as text from stored JSON."""
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def path(name: str) -> str:
    """A name as one part of an address, whatever is in it."""
    return quote(name, safe="")


def shown(value: Any) -> str:
    """A fact as a person reads it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return words.listed(str(one) for one in value[:5]) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
    return str(value)


def pruned(erased: Mapping[str, int], before: datetime, dry_run: bool) -> str:
    return sentence(erased, before, dry_run=dry_run)

"""Which configuration a command works with, and where its logs go. Never does: open what the configuration names."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import structlog
from pydantic import ValidationError

from quell.cli.output import coloured
from quell.cli.reading import CONFIGURATION, FILE_VARIABLE
from quell.errors import InvalidInput, Problem
from quell.redact import KNOWN
from quell.settings import ServerSettings, Settings, load_settings

DEFAULT_FILE = Path(CONFIGURATION)


def find_settings(config: Path | None) -> Settings:
    """The file that was named, ``$QUELL_CONFIG``, ``./quell.yaml``, or the defaults. Raises ``InvalidInput``."""
    if config is None and os.environ.get(FILE_VARIABLE):
        config = Path(os.environ[FILE_VARIABLE])
    if config is None and DEFAULT_FILE.is_file():
        config = DEFAULT_FILE
    return load_settings(config)


def overridden(
    settings: Settings, *, host: str | None, port: int | None, database: str | None, runbooks: Sequence[Path],
    insecure: bool = False,
) -> Settings:  # fmt: skip
    """What the command line says goes over the file. Raises ``InvalidInput``: the result must be sound as well."""
    change: dict[str, Any] = {}
    said = (("host", host), ("port", port), ("insecure", insecure or None))
    told = {name: value for name, value in said if value is not None}
    if told:
        try:
            change["server"] = ServerSettings.model_validate({**settings.server.model_dump(), **told})
        except ValidationError as error:
            raise InvalidInput([_problem(dict(item)) for item in error.errors(include_url=False)]) from None
    if database is not None:
        change["database"] = database
    if runbooks:
        change["runbooks"] = tuple(str(path.absolute()) for path in runbooks)
    return settings.model_copy(update=change)


def _problem(item: dict[str, Any]) -> Problem:
    message = str(item["msg"]).removeprefix("Value error, ")
    return Problem(message, "wrong-value", "command line", path=".".join(["server", *map(str, item["loc"])]))


def configure_logs(level: int = logging.INFO) -> None:
    """Structured lines on stderr: ``key=value`` at a terminal, one JSON object each otherwise.

    Libraries that use the standard ``logging`` end up in the same lines. No line holds a secret that is known.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=coloured(sys.stderr), pad_event_to=0)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    lines = [last, _without_secrets]
    structlog.configure(
        processors=[*shared, *lines], wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )  # fmt: skip
    handler = logging.StreamHandler(sys.stderr)
    named = structlog.stdlib.add_logger_name
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, named],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *lines],
    ))  # fmt: skip
    handler.addFilter(_unexpected)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    # It would bring a handler and a format of its own if it found none.
    engine = logging.getLogger("dbos")
    engine.handlers[:] = [handler]
    engine.propagate = False


def _without_secrets(logger: Any, name: str, line: str) -> str:
    return KNOWN.text(line)


def _unexpected(record: logging.LogRecord) -> bool:
    """Leaves out what the engine says of waits and steps that a clean end interrupts: the next start finds them."""
    error = record.exc_info[1] if record.exc_info else None
    ending = isinstance(error, RuntimeError) and "after shutdown" in str(error)
    return not ending and not str(record.msg).startswith("Asyncio task cancelled for workflow")


def _json(value: Any, **options: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def shown_database(settings: Settings) -> str:
    """Where it keeps what it knows, without a password."""
    url = settings.database
    scheme, mark, rest = url.partition("://")
    if not mark:
        return str(Path(url).absolute())
    login, at, host = rest.rpartition("@")
    return f"{scheme}://{login.split(':')[0]}{at}{host}"

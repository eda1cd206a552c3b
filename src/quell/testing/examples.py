"""The examples in a plug-in's docstring, read as runbooks and configuration are read. Never does: run one."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from quell.runbook.source import load

_FENCE = re.compile(r"^```(?:yaml)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^    .*\n?|^\n(?=    ))+", re.MULTILINE)


def examples(doc: str) -> list[Any]:
    """The data of each YAML document in the fenced and the indented blocks. Raises ``InvalidInput``."""
    text = inspect.cleandoc(doc) + "\n"
    blocks = _FENCE.findall(text) or _INDENTED.findall(text)
    return [document.data for block in blocks for document in load(textwrap.dedent(block), "the example")]


def calls(data: Any, name: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Every entry in the example that is about this plug-in, with the parameters it gives."""
    if isinstance(data, list):
        for one in data:
            yield from calls(one, name)
    elif isinstance(data, Mapping):
        if data.get("type") == name:
            config = data.get("config")
            yield data, config if isinstance(config, Mapping) else {k: v for k, v in data.items() if k != "type"}
        for key, one in data.items():
            if key == name and isinstance(one, Mapping) and "type" not in one:
                yield data, one
            else:
                yield from calls(one, name)

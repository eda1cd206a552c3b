"""Reads the secret behind a reference, for sources: they verify a sender without a probe.

Never does: remember a value, put one into an error.
"""

from __future__ import annotations

import os
from pathlib import Path

from quell.errors import Permanent
from quell.redact import KNOWN


def resolve(reference: str) -> str:
    """The value behind ``env:NAME`` or ``file:PATH``. Raises ``Permanent`` (missing, invalid)."""
    value = _behind(reference)
    KNOWN.learn(value)
    return value


def _behind(reference: str) -> str:
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if not value:
            raise Permanent(f"{reference} is not set", "missing")
        return value
    if kind == "file":
        try:
            return Path(rest).read_text().strip()
        except OSError as error:
            raise Permanent(f"{reference}: {error.strerror}", "missing") from None
        except ValueError:
            raise Permanent(f"{reference}: not a text file with a secret", "invalid") from None
    raise Permanent("a secret is given by reference: env:NAME or file:PATH", "invalid")

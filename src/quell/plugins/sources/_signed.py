"""A body's signature: HMAC-SHA256 as hexadecimal in a header, over the body or over a moment and the body.

Never does: say why a signature is wrong in words that help to guess, let anybody in when our own secret is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from quell.errors import Permanent
from quell.plugins.sources import _secret
from quell.plugins.sources._credentials import header, hmac_sha256, lost, same

UNSIGNED = "missing or wrong signature"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_SECONDS = re.compile(r"[0-9]{1,12}")


def header_name(value: str) -> str:
    """Raises ValueError. Empty: none."""
    if value and not _NAME.fullmatch(value):
        raise ValueError(f"no name of a header: {value[:64]!r}; write one such as X-Signature")
    return value


HeaderName = Annotated[str, AfterValidator(header_name)]


def unsigned(headers: Mapping[str, str], signed: bytes, secret: str, name: str, prefix: str = "") -> str | None:
    """Why this is not what the holder of ``secret`` (a reference) signed, None when it is."""
    given = header(headers, name.lower()).strip()
    if not given.startswith(prefix):
        return UNSIGNED
    try:
        wanted = hmac_sha256(_secret.resolve(secret), signed)
    except Permanent as error:
        return lost(error)
    return None if same(given.removeprefix(prefix).lower(), wanted) else UNSIGNED


def too_old(moment: str, max_age_s: float, now: float) -> str | None:
    """Why a moment (seconds since 1970) is not about now, None when it is. A clock may go wrong either way."""
    if not _SECONDS.fullmatch(moment):
        return "the signature's time is missing or not in seconds since 1970"
    off = now - int(moment)
    return None if abs(off) <= max_age_s else f"the signature's time is {abs(off):.0f} s off, more than {max_age_s:g} s"

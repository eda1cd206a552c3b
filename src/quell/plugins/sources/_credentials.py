"""What a sender shows of itself, compared in constant time. A secret of ours that is lost lets nobody in.

Never does: read the body's contents, say why in words that help to guess.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping

from quell.errors import Permanent
from quell.plugins.sources import _secret

WRONG = "missing or wrong credentials"


def header(headers: Mapping[str, str], name: str) -> str:
    """By its name in lower case; empty when it is not there."""
    return next((value for given, value in headers.items() if given.lower() == name), "")


def token_or_password(headers: Mapping[str, str], token: str | None, username: str, password: str | None) -> str | None:
    """Bearer or basic authentication (RFC 6750, RFC 7617): why the sender is refused, None when it may post.

    ``token`` and ``password`` are references; with neither, everybody may.
    """
    if not token and not password:
        return None
    scheme, _, given = header(headers, "authorization").partition(" ")
    try:
        if token and scheme.lower() == "bearer":
            good = same(given.strip(), _secret.resolve(token))
        elif password and scheme.lower() == "basic":
            good = same(_decoded(given), f"{username}:{_secret.resolve(password)}")
        else:
            good = False
    except Permanent as error:
        return lost(error)
    return None if good else WRONG


def shown_by(headers: Mapping[str, str], token: str | None, password: str | None) -> str:
    """How a sender that ``token_or_password`` let in was known; empty when nothing was asked for."""
    if not token and not password:
        return ""
    return "bearer token" if header(headers, "authorization").lower().startswith("bearer ") else "basic auth"


def one_of(given: Iterable[str], secrets: Iterable[str], make: Callable[[str], str]) -> bool:
    """Whether something given is what ``make`` makes of one of our secrets, of which each is a reference.

    All of them are compared, whichever fits. Raises ``Permanent`` when none fits and one of ours cannot be read.
    """
    found, missing = False, None
    offered = list(given)
    for reference in secrets:
        try:
            wanted = make(_secret.resolve(reference))
        except Permanent as error:
            missing = error
            continue
        for one in offered:
            found |= same(one, wanted)
    if missing is not None and not found:
        raise missing
    return found


def lost(error: Permanent) -> str:
    return f"the webhook's own secret cannot be read: {error}"


def hmac_sha256(secret: str, signed: bytes) -> str:
    """As lower-case hexadecimal."""
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def same(given: str, wanted: str) -> bool:
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _decoded(given: str) -> str:
    try:
        return base64.b64decode(given.strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""

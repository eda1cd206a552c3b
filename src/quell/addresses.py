"""What is wrong with an address, said without any of its text: what was meant as a password may be in any part of it.

Pure. Never does: put a piece of the address into a sentence, resolve or open it.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit


class _IsUrl:
    """A mark for a parameter's annotation; it changes nothing about how a value is validated."""

    def __repr__(self) -> str:
        return "IS_URL"


IS_URL = _IsUrl()
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]")
_SETTING = re.compile(r"\w+\s*=")
_ENCODE = "in a user name or password, write each of / ? # @ % [ ] percent-encoded, such as %2F for /"


def flaw(url: str) -> str | None:
    """Which part cannot be read, and what to do about it; None when all parts are clear.

    What has no scheme is a path or a name that somebody else reads, unless it looks like a list of settings.
    """
    if "://" not in url:
        return "it is a list of settings; write it as scheme://user@host:port/name" if _SETTING.match(url) else None
    if _UNSEEN.search(url):
        return "it holds a space or a control character"
    if _ESCAPE.search(url):
        return f"it holds a % without two hexadecimal digits; {_ENCODE}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"its host cannot be read; {_ENCODE}"
    login, _, place = parts.netloc.rpartition("@")
    if "@" in login or "[" in login or "]" in login:
        return f"its user name or password cannot be told from its host; {_ENCODE}"
    try:
        _ = parts.port
    except ValueError:
        return f"its port is no number from 0 to 65535; {_ENCODE}"
    web = parts.scheme in ("http", "https")
    # Behind the host of a web address an @ is common; elsewhere it is the end of a password with a / in it.
    if not web and not login and "@" in url.partition("://")[2][len(parts.netloc) :]:
        return f"it has an @ behind its host; {_ENCODE}"
    return "it has no host" if web and not place.partition(":")[0] else None


def shown(url: str) -> str:
    """An address fit for people: without login, query and fragment, and without what might be a part of a login."""
    if "://" not in url or flaw(url):
        return "its address"
    parts = urlsplit(url)
    path = "/…" if "@" in parts.path else parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"

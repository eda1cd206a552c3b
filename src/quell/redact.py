"""Texts without this process's secrets: whoever resolves a reference says so here, whoever tells anything asks here.

Other systems repeat what they were sent, in an error, a log or an answer, and often in another spelling. ``KNOWN``
knows every secret that this process has read and finds it plain, percent-encoded, escaped for JSON, HTML or a shell, in
Base64 (also as a part of ``user:password``) and hexadecimal, wrapped over lines, and cut off at an end of a text.
Never does: read a reference, change a text that holds no secret, or look for what is too short or too common a word to
be told from other text (``is_findable``).
"""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel

from quell.errors import Permanent, QuellError

T = TypeVar("T")
MASK = "•••"
SHORTEST = 6
PIECE = 8
"""Signs of a secret that was cut off by which it is still found."""
LINE = 16
"""Signs that a line of a secret of many lines (a key, a document) must have to be one of its own."""
MOST_LINES = 100
MOST = 500
"""Secrets that are remembered; of tokens that are renewed every hour the oldest go."""
TELLING = re.compile(
    r"(?i)pass(word|wd|phrase)|token|secret|credential|authori[sz]ation|cookie|(api|routing|signing|private|access)_?-?key"
)
"""Names of what is likely to be a secret, wherever it stands."""
_WORD = re.compile(r"[a-z]{1,15}")
_WORDS = re.compile(r"[a-z]+(?:[-_. /][a-z]+)*")
_SCHEME = re.compile(r"(?i)(?:bearer|basic|bot|token|digest|apikey)\s+(\S.*)", re.DOTALL)
_END = re.compile(r"…|\.\.\.|[\s\"'`)\]}>.,;]*\Z")
_START = re.compile(r"(?:.*(?:…|\.\.\.))?[\s\"'`(\[{<]*", re.DOTALL)


def is_findable(secret: str) -> bool:
    """Whether it can be told from other text: not one ordinary word, and not too short."""
    return len("".join(secret.split())) >= SHORTEST and _WORD.fullmatch(secret) is None


def is_reference(text: str) -> bool:
    return text.startswith(("env:", "file:"))


def _alike(one: str, other: str) -> int:
    """How many signs two texts have in common from their beginning on."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@dataclass(frozen=True, slots=True)
class _Form:
    """One spelling of a secret, without white space: that may be anywhere in what is told."""

    whole: str

    def near(self, compact: str) -> bool:
        """Whether it, or a piece of it, may be in a text without its white space. Quick, and never wrong in a no."""
        return self.whole[:PIECE] in compact or self.whole[-PIECE:] in compact

    def out_of(self, text: str) -> str:
        text = re.sub(r"\s*".join(map(re.escape, self.whole)), MASK, text)
        return self._cut_at_start(self._cut_at_end(text)) if len(self.whole) > PIECE else text

    def _cut_at_end(self, text: str) -> str:
        """Its beginning, where the text ends or says that something is left out."""
        at = text.find(self.whole[:PIECE])
        while at >= 0:
            end = at + _alike(self.whole, text[at : at + len(self.whole)])
            if _END.match(text, end) and not _WORDS.fullmatch(text, at, end):
                text = text[:at] + MASK + text[end:]
            at = text.find(self.whole[:PIECE], at + 1)
        return text

    def _cut_at_start(self, text: str) -> str:
        """Its end, where the text begins or says that something is left out."""
        at = text.find(self.whole[-PIECE:])
        while at >= 0:
            end = at + PIECE
            before = text[max(0, end - len(self.whole)) : end]
            start = end - _alike(self.whole[::-1], before[::-1])
            if _START.fullmatch(text, 0, start) and not _WORDS.fullmatch(text, start, end):
                text, end = text[:start] + MASK + text[end:], start + len(MASK)
            at = text.find(self.whole[-PIECE:], end)
        return text


class Redactor:
    """The secrets of a process, and texts without them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}
        self._forms: tuple[_Form, ...] = ()

    def learn(self, secret: str) -> None:
        """What must not be told from now on. What is not findable is left out."""
        found = {text: spellings(text) for text in _parts(secret) if text not in self._known and is_findable(text)}
        if not found:
            return
        known = {**self._known, **found}
        self._known = dict(list(known.items())[-MOST:])
        forms = dict.fromkeys(form for every in self._known.values() for form in every)
        # A longer one first: what is left of it would not be found any more.
        self._forms = tuple(_Form(form) for form in sorted(forms, key=len, reverse=True))

    def learn_in(self, value: Any, name: str = "") -> None:
        """What stands in a configuration as it is: logins and tokens of addresses, and what a name gives away."""
        if isinstance(value, Mapping):
            for key, inner in value.items():
                self.learn_in(inner, str(key))
        elif isinstance(value, list | tuple):
            for inner in value:
                self.learn_in(inner, name)
        elif isinstance(value, str) and not is_reference(value):
            if "://" in value:
                self.learn_url(value)
            elif TELLING.search(name):
                self.learn(value)

    def learn_url(self, url: str, *, secret: bool = False) -> None:
        """The password and the tokens of an address. ``secret``: it came by reference, so its path and its whole query
        are meant too (as of a webhook); never its host, without which no error would be of use."""
        for part in _parts_of_url(url, secret=secret):
            self.learn(part)

    def forget(self) -> None:
        self._known, self._forms = {}, ()

    def text(self, text: str) -> str:
        """The text with every secret blacked out."""
        for form in self._near(text):
            text = form.out_of(text)
        return text

    def tree(self, value: T) -> T:
        """The same for every text in a value: mappings (their keys too), lists, models, data classes."""
        if not self._forms or not self._near("\n".join(texts(value))):
            return value
        return self._walked(value)  # type: ignore[no-any-return]

    def error(self, error: Exception) -> Exception:
        """The error itself where its words hold no secret, else one that says the same without."""
        words = str(error)
        clean = self.text(words)
        if clean == words:
            return error
        if isinstance(error, QuellError):
            error.args = tuple(self.text(part) if isinstance(part, str) else part for part in error.args)
            if str(error) == clean:
                return error
        return Permanent(f"{type(error).__name__}: {clean}", "internal")

    def _near(self, text: str) -> list[_Form]:
        if not self._forms:
            return []
        compact = "".join(text.split())
        return [form for form in self._forms if form.near(compact)]

    def _walked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value) if type(value) is str else value
        if isinstance(value, Mapping):
            return {self._walked(key): self._walked(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            inside = [self._walked(inner) for inner in value]
            return type(value)(*inside) if hasattr(value, "_fields") else type(value)(inside)
        if isinstance(value, BaseModel):
            return value.model_copy(update={name: self._walked(inner) for name, inner in value})
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = {one.name: self._walked(getattr(value, one.name)) for one in dataclasses.fields(value)}
            return dataclasses.replace(value, **inner)
        return value


KNOWN = Redactor()
"""Those of this process: its logs, its answers and its log of events are common to all that runs in it."""


def weight(value: Any) -> int:
    """How much text a value holds, in characters."""
    return sum(map(len, texts(value)))


def texts(value: Any) -> Iterator[str]:
    """Every text in a value: a mapping (its keys too), a list, a model, a data class."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            stack += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            stack += one
        elif isinstance(one, BaseModel):
            stack += [inner for _, inner in one]
        elif dataclasses.is_dataclass(one) and not isinstance(one, type):
            stack += [getattr(one, part.name) for part in dataclasses.fields(one)]


# What is a secret, and how it may be spelled.


def _parts(secret: str) -> Iterator[str]:
    """The secret; of an address or a header what is secret in it; of many lines each."""
    text = secret.strip()
    if "://" in text and not any(sign.isspace() for sign in text):
        yield from _parts_of_url(text, secret=True)
        return
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines[:MOST_LINES] if len(line) >= LINE and not line.startswith("-----"))
    if len(text) <= 4 * 1024:
        yield text
    if (scheme := _SCHEME.fullmatch(text)) is not None:
        yield scheme[1]


def _parts_of_url(url: str, *, secret: bool) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    login = parts.netloc.rpartition("@")[0]
    user, colon, password = login.partition(":")
    if colon:
        yield unquote(password)
    elif secret and len(user) >= LINE:
        yield unquote(user)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if TELLING.search(name) or (secret and _is_no_word(value)):
            yield value
    if secret:
        yield from (piece for piece in map(unquote, parts.path.split("/")) if _is_no_word(piece))


def _is_no_word(text: str) -> bool:
    return len(text) >= PIECE and _WORDS.fullmatch(text) is None


def spellings(secret: str) -> tuple[str, ...]:
    """The secret as others may write it, without white space."""
    data = secret.encode(errors="surrogatepass")
    escaped = json.dumps(secret)[1:-1]
    marked = html.escape(secret)
    found = [
        secret, escaped, json.dumps(escaped)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1],
        escaped.replace("/", "\\/"), repr(secret)[1:-1], repr(data)[2:-1], secret.replace("'", "'\"'\"'"),
        marked, marked.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"), data.hex(), data.hex().upper(),
    ]  # fmt: skip
    for safe in ("", "/", "!$&'()*+,;=:@/?~"):
        found.append(quote(data, safe=safe))
    found.append(quote_plus(data))
    found += [re.sub(r"%[0-9A-F]{2}", lambda hit: hit[0].lower(), text) for text in found[-4:]]
    found += [text for before in range(3) for text in _in_base64(data, before)]
    compact = ("".join(text.split()) for text in found)
    return tuple(dict.fromkeys(text for text in compact if len(text) >= SHORTEST))


def _in_base64(data: bytes, before: int) -> Iterator[str]:
    """The signs that hang on the secret alone when so many bytes (of a user name, say) stand before it."""
    first, end = -(-before * 8 // 6), (before + len(data)) * 8 // 6
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        yield encode(bytes(before) + data).decode()[first:end]

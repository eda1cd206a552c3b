"""What leads out of the process holds no secret, in whatever spelling somebody else repeated it; the rest is as it was."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel

from quell.errors import Permanent, Transient
from quell.redact import MASK, MOST, Redactor, is_findable, weight

TOKEN = "tk-9Zq_x7Lw2/Vb+8Kd4"
ODD = 'it\'s "50%" <&> ünï\\x/9'
SPELLED: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "path": quote,
    "form": quote_plus,
    "lower percent": lambda text: re.sub("%..", lambda hit: hit[0].lower(), quote(text, safe="")),
    "JSON": json.dumps,
    "JSON as UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"said": text})),
    "HTML": html.escape,
    "HTML of others": lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "repr": repr,
    "bytes": lambda text: repr(text.encode()),
    "shell": shlex.quote,
    "Base64": lambda text: base64.b64encode(text.encode()).decode(),
    "Basic, a": lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
    "Basic, b": lambda text: base64.b64encode(f"me:{text}".encode()).decode(),
    "Basic, c": lambda text: base64.b64encode(f"joe:{text}\n".encode()).decode(),
    "URL-safe": lambda text: base64.urlsafe_b64encode(f"x{text}".encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "wrapped": lambda text: "\n  ".join(textwrap.wrap(base64.b64encode(f"{text}{text}".encode()).decode(), 9)),
}  # fmt: skip


def knowing(*secrets: str) -> Redactor:
    redactor = Redactor()
    for secret in secrets:
        redactor.learn(secret)
    return redactor


@pytest.mark.parametrize("secret", [TOKEN, ODD], ids=["token", "odd"])
@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_it_is_found_in_every_spelling(secret: str, spelled: Callable[[str], str]) -> None:
    seen = spelled(secret)
    told = knowing(secret).text(f"before {seen} after")
    assert told.startswith("before ")
    assert told.endswith(" after")
    # What stands around it (quotes, a user name) may stay: of the secret not even half does.
    assert len(told.replace(MASK, "").replace("before", "").replace("after", "").strip()) < len(seen) / 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"denied: {TOKEN[:12]}", f"denied: {MASK}"),
        (f"denied: {TOKEN[:12]}…", f"denied: {MASK}…"),
        (f"denied ({TOKEN[:9]}... and more)", f"denied ({MASK}... and more)"),
        (f"{TOKEN[-11:]} is wrong", f"{MASK} is wrong"),
        (f"…{TOKEN[-11:]} is wrong", f"…{MASK} is wrong"),
        (f'"{TOKEN[:10]}"', f'"{MASK}"'),
        (f"{TOKEN[:7]}", f"{TOKEN[:7]}"),
        (f"{TOKEN[:10]}-other follows", f"{TOKEN[:10]}-other follows"),
    ],
)
def test_a_piece_is_found_where_a_text_was_cut(text: str, told: str) -> None:
    assert knowing(TOKEN).text(text) == told


def test_a_beginning_that_is_a_word_is_no_piece_of_a_secret() -> None:
    assert knowing("payments-77Kx").text("the service payments") == "the service payments"
    assert knowing("payments-77Kx").text("the password payments-77Kx") == f"the password {MASK}"


@pytest.mark.parametrize("secret", ["", "x", "12345", "postgres", "changeme", "   "])
def test_what_cannot_be_told_from_other_text_is_not_looked_for(secret: str) -> None:
    assert not is_findable(secret)
    text = f"{secret} on postgres: 12345 x changeme"
    assert knowing(secret).text(text) == text


def test_of_an_address_the_login_and_tokens_are_meant_and_never_the_host() -> None:
    known = Redactor()
    known.learn_url("https://joe:s3cr%2Ft-9@db.example.org/metrics?token=Tq81xx77&range=1h30m-long")
    told = known.text("db.example.org/metrics says s3cr/t-9 and s3cr%2Ft-9 for Tq81xx77, range 1h30m-long, to joe")
    assert told == f"db.example.org/metrics says {MASK} and {MASK} for {MASK}, range 1h30m-long, to joe"


def test_of_an_address_behind_a_reference_the_path_is_meant_too() -> None:
    known = knowing("https://hooks.example.org/services/T0AB12CD3/B99887766/hV81kkQz02")
    told = known.text("POST /services/T0AB12CD3/B99887766/hV81kkQz02 to hooks.example.org of our services")
    assert told == f"POST /services/{MASK}/{MASK}/{MASK} to hooks.example.org of our services"


def test_of_a_header_the_credentials_are_meant() -> None:
    assert knowing("Bearer abc123XYZ").text("token abc123XYZ, Bearer of news") == f"token {MASK}, Bearer of news"


def test_of_many_lines_each_is_meant_but_for_the_marks() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n"
    told = knowing(key).text("-----BEGIN PRIVATE KEY-----: AQEFAASCBKcwggSjAgEAAoIB")
    assert told == f"-----BEGIN PRIVATE KEY-----: {MASK}"


def test_what_stands_in_a_configuration_instead_of_a_reference() -> None:
    known = Redactor()
    known.learn_in({
        "connections": {"a": {"password": "literal-1x", "url": "redis://:literal-2x@h", "options": {"note": "harmless-1"}},
                        "b": {"password": "env:THE_NAME_1", "headers": {"X-Api-Key": "literal-3x", "Accept": "text/html"}}},
    })  # fmt: skip
    assert known.text("literal-1x literal-2x literal-3x") == f"{MASK} {MASK} {MASK}"
    assert known.text("env:THE_NAME_1 harmless-1 text/html") == "env:THE_NAME_1 harmless-1 text/html"


class Model(BaseModel):
    text: str
    inner: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Data:
    text: str
    model: Model
    number: int = 3


def test_every_text_in_a_value() -> None:
    value = Data(f"a {TOKEN}", Model(text="b", inner={f"k {TOKEN}": ("c", TOKEN)}))
    told = knowing(TOKEN).tree([value, {"n": 1, "x": None}])
    assert told == [Data(f"a {MASK}", Model(text="b", inner={f"k {MASK}": ("c", MASK)})), {"n": 1, "x": None}]
    assert weight(value) == len(f"a {TOKEN}bk {TOKEN}c{TOKEN}")


def test_a_value_without_secrets_is_the_same_object() -> None:
    value = {"a": ["b", {"c": "d"}]}
    assert knowing(TOKEN).tree(value) is value


def test_an_error_keeps_its_kind_where_it_can() -> None:
    known = knowing(TOKEN)
    clean = known.error(Transient(f"no {TOKEN}", "busy", retry_after=3))
    assert isinstance(clean, Transient)
    assert (str(clean), clean.error_class, clean.retry_after) == (f"no {MASK}", "busy", 3)
    foreign = known.error(ValueError(f"bad {TOKEN}"))
    assert isinstance(foreign, Permanent)
    assert (str(foreign), foreign.error_class) == (f"ValueError: bad {MASK}", "internal")
    harmless = ValueError("bad")
    assert known.error(harmless) is harmless


def test_the_oldest_go_when_there_are_too_many() -> None:
    known = Redactor()
    for number in range(MOST + 1):
        known.learn(f"secret-{number:06}")
    assert known.text("secret-000000 secret-000500") == f"secret-000000 {MASK}"


VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)


@given(st.text(VISIBLE, min_size=6, max_size=40).filter(is_findable), st.text(max_size=30), st.text(max_size=30))
def test_it_is_gone_whatever_stands_around_it(secret: str, before: str, after: str) -> None:
    assume("://" not in secret)
    assert secret not in knowing(secret).text(f"{before}{secret}{after}")

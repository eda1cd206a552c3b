"""What an error of the HTTP client's stands for."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from quell.errors import Permanent, QuellError, Transient
from quell.unreached import causes, why


def wrapped(inner: BaseException) -> Exception:
    """As the client does it: behind a group of attempts, behind its own error."""
    outer = httpx.ConnectError("words of the library with https://u:secret@host/ in them")
    outer.__cause__ = ExceptionGroup("attempts", [OSError("first"), inner])  # type: ignore[type-var]
    return outer


def refused_by_tls(kind: type[ssl.SSLError], **said: str) -> ssl.SSLError:
    """As OpenSSL's errors are: what they say is beside the words."""
    error = kind(1, "words")
    for name, text in said.items():
        setattr(error, name, text)
    return error


BAD = refused_by_tls(ssl.SSLCertVerificationError, verify_message="certificate has expired")
BROKEN = refused_by_tls(ssl.SSLError, reason="WRONG_VERSION_NUMBER")


@pytest.mark.parametrize(
    ("error", "kind", "error_class"),
    [
        (wrapped(ConnectionRefusedError()), Transient, "refused"),
        (wrapped(socket.gaierror(-2, "unknown")), Transient, "dns"),
        (wrapped(BAD), Permanent, "tls"),
        (wrapped(BROKEN), Permanent, "tls"),
        (httpx.ReadTimeout("slow"), Transient, "timeout"),
        (wrapped(TimeoutError()), Transient, "timeout"),
        (httpx.InvalidURL("no"), Permanent, "invalid"),
        (httpx.UnsupportedProtocol("no"), Permanent, "invalid"),
        (ValueError("no"), Permanent, "invalid"),
        (httpx.DecodingError("no"), Permanent, "invalid"),
        (httpx.ReadError("broke"), Transient, "unreachable"),
    ],
)
def test_each_has_its_class_and_names_only_the_place_it_was_given(
    error: Exception, kind: type[QuellError], error_class: str
) -> None:
    told = why(error, "the shop")
    assert type(told) is kind
    assert getattr(told, "error_class", None) == error_class
    assert str(told).startswith("the shop: ")
    assert "secret" not in str(told)


def test_what_is_ours_already_stays() -> None:
    ours = Permanent("an address that is never asked", "denied")
    assert why(wrapped(ours), "x") is ours


def test_a_circle_of_causes_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert len(list(causes(one))) < 20

"""A question ends in an answer or in words, whatever whoever is asked does."""

import asyncio

import pytest

from quell.doctor.asked import Failure, bounded
from quell.errors import NotFound, Permanent, Transient
from quell.redact import KNOWN


async def _hangs() -> None:
    await asyncio.Event().wait()


def _raises(error: Exception) -> object:
    async def ask() -> None:
        raise error

    return ask()


def test_in_time() -> None:
    async def ask() -> int:
        return 7

    assert asyncio.run(bounded(ask(), 1.0)) == 7
    assert asyncio.run(bounded(_hangs(), 0.02)) == Failure("timeout", "no answer within 0.02 s")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (Permanent("no", "denied"), Failure("denied", "no")),
        (Transient("later", "busy"), Failure("busy", "later")),
        (NotFound("driver", "x"), Failure("invalid", "no driver 'x'")),
        (PermissionError(13, "Permission denied"), Failure("unreachable", "Permission denied")),
        (KeyError("s3cret"), Failure("internal", "KeyError in what asks")),
    ],
)
def test_every_error_becomes_words(error: Exception, failure: Failure) -> None:
    assert asyncio.run(bounded(_raises(error), 1.0)) == failure  # type: ignore[arg-type]


def test_neither_an_answer_nor_a_failure_holds_a_secret() -> None:
    KNOWN.learn("tk-77Qx91")

    async def ask() -> str:
        return "hello tk-77Qx91"

    assert asyncio.run(bounded(ask(), 1.0)) == "hello •••"
    failure = asyncio.run(bounded(_raises(Permanent("no tk-77Qx91", "denied")), 1.0))  # type: ignore[arg-type]
    assert failure == Failure("denied", "no •••")

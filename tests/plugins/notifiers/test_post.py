"""Which connection a notifier goes through: the one that is called like the target, else the only one of its type."""

import pytest

from quell.errors import Permanent
from quell.plugins.notifiers._post import connection_of
from quell.ports import Connection
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

ONE = (Connection("sre", "slack"),)
TWO = (*ONE, Connection("incidents-payment", "slack"))
OTHER = (*ONE, Connection("payment", "postgresql"))


@pytest.mark.parametrize(
    ("known", "named", "target", "found"),
    [
        (TWO, None, "incidents-payment", "incidents-payment"),
        (TWO, "sre", "incidents-payment", "sre"),
        (ONE, None, "incidents-payment", "sre"),
        (OTHER, None, "payment", "sre"),
        (ONE, None, "", "sre"),
        (TWO, None, "incidents", "no connection 'incidents' of type slack: 2 connections of type slack; name one"),
        (TWO, None, "", "2 connections of type slack; name one"),
        ((), None, "incidents", "no connection 'incidents' of type slack: no connection of type slack"),
        (ONE, "srf", "sre", "no connection 'srf'; did you mean 'sre'?"),
    ],
)
async def test_the_name_comes_first_then_the_only_one(
    known: tuple[Connection, ...], named: str | None, target: str, found: str
) -> None:
    async with probe_over(*known) as probe:
        try:
            assert connection_of(probe, named, target, "slack").name == found
        except Permanent as error:
            assert str(error).startswith(found)  # noqa: PT017

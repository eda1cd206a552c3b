"""A beginning finds what begins so, letter by letter, and nothing that only looks like it; on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from quell.store.beginning import begins
from quell.store.database import Database

NAMES = ("ab%cd", "abacd", "ab_cd", "ABacd", "ab", "abé", "ab中", "abcdef", "b", "a")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ab", {"ab%cd", "abacd", "ab_cd", "ab", "abé", "ab中", "abcdef"}),
        ("ab%", {"ab%cd"}), ("ab_", {"ab_cd"}), ("AB", {"ABacd"}), ("abc", {"abcdef"}), ("abcdefg", set()),
        ("ab中", {"ab中"}),
    ],
)  # fmt: skip
def test_what_begins_so(database: Database, text: str, found: set[str]) -> None:
    table = sa.Table("names", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True))
    with database.engine.begin() as connection:
        table.create(connection)
        connection.execute(sa.insert(table), [{"name": one} for one in NAMES])
        query = sa.select(table.c.name).where(begins(table.c.name, text))
        assert set(connection.execute(query).scalars()) == found

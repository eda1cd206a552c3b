"""Binding: values never become text, names are quoted, quoted text is left alone."""

import sqlite3
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import Permanent
from quell.plugins.actions._sql import MYSQL, POSTGRESQL, SQLITE, bind, quote_identifier, quote_literal


def bound(dialect: str, sql: str, **params: Any) -> tuple[str, tuple[Any, ...]]:
    statement = bind(dialect, sql, params, {"t": "orders", "s": 'pub"lic.we`ird'}, {"limit": 5, "who": "o'x"})
    return statement.text, statement.values


@pytest.mark.parametrize(
    ("dialect", "sql", "text", "values"),
    [
        (POSTGRESQL, "select :a, :b, :a", "select $1, $2, $1", (1, "x")),
        (MYSQL, "select :a, :b, :a", "select %s, %s, %s", (1, "x", 1)),
        (SQLITE, "select :a, :b, :a", "select ?, ?, ?", (1, "x", 1)),
        (POSTGRESQL, "select :a::text, '{\"x\": 1}', ':b', \":b\"", "select $1::text, '{\"x\": 1}', ':b', \":b\"", (1,)),
        (POSTGRESQL, "select $$:b {x}$$, $f$:b$f$, :a -- :b\n/* {x} */", "select $$:b {x}$$, $f$:b$f$, $1 -- :b\n/* {x} */", (1,)),
        (POSTGRESQL, r"select E'it\'s :b', :a", r"select E'it\'s :b', $1", (1,)),
        (POSTGRESQL, "select 'it''s :b', :a", "select 'it''s :b', $1", (1,)),
        (POSTGRESQL, "select a[1:2], :a", "select a[1:2], $1", (1,)),
        (MYSQL, "select '50%', :a, 5 % 2, `:b`, \"{x}\" # :b", "select '50%%', %s, 5 %% 2, `:b`, \"{x}\" # :b", (1,)),
        (MYSQL, r"select 'it\'s :b', @x := :a", r"select 'it\'s :b', @x := %s", (1,)),
        (SQLITE, "select [a:b], :a", "select [a:b], ?", (1,)),
        (POSTGRESQL, "alter table {t} rename to {s}", 'alter table "orders" rename to "pub""lic"."we`ird"', ()),
        (MYSQL, "alter table {t} rename to {s}", 'alter table `orders` rename to `pub"lic`.`we``ird`', ()),
        (POSTGRESQL, "alter role x connection limit {captured.limit}", "alter role x connection limit 5", ()),
        (POSTGRESQL, "comment on role x is {captured.who}", "comment on role x is 'o''x'", ()),
    ],
)  # fmt: skip
def test_each_dialect_gets_its_own_placeholders(dialect: str, sql: str, text: str, values: tuple[Any, ...]) -> None:
    assert bound(dialect, sql, a=1, b="x") == (text, values)


def test_without_values_a_percent_sign_stays_for_mysql() -> None:
    assert bound(MYSQL, "select '50%' like '5%'")[0] == "select '50%' like '5%'"
    assert bound(MYSQL, "select '50%' like '5%'", unused=1)[0] == "select '50%' like '5%'"


def test_people_see_each_value_in_its_place() -> None:
    statement = bind(POSTGRESQL, "update {t} set n = :n where who = :who", {"n": 3, "who": "o'x"}, {"t": "orders"}, {})
    assert statement.shown == "update \"orders\" set n = 3 where who = 'o''x'"
    assert statement.objects == ("orders",)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select :zz", "asks for :zz; params has a"),
        ("select {zz}", r"names \{zz\}; identifiers has s, t"),
        ("select {captured.zz}", "nothing was captured as 'zz'; captured: limit, who"),
    ],
)
def test_what_is_missing_is_named(sql: str, words: str) -> None:
    with pytest.raises(Permanent, match=words) as caught:
        bound(POSTGRESQL, sql, a=1)
    assert caught.value.error_class == "invalid"


@pytest.mark.parametrize("name", ["", ".", "a.", "a\nb", "a\0", "x" * 129])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(Permanent):
        quote_identifier(POSTGRESQL, name)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "NULL"), (True, "TRUE"), (3, "3"), (Decimal("1.50"), "1.50"), ("a\\b'", "E'a\\\\b'''")],
)
def test_literals(value: Any, text: str) -> None:
    assert quote_literal(POSTGRESQL, value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a\0b", ["x"], b"x"])
def test_a_value_without_a_plain_literal_is_refused(value: Any) -> None:
    with pytest.raises(Permanent):
        quote_literal(POSTGRESQL, value)


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(words, words)
def test_a_real_parser_reads_back_what_was_bound_and_quoted(value: str, other: str) -> None:
    statement = bind(SQLITE, "select :v as a, {captured.o} as b", {"v": value}, {}, {"o": other})
    with sqlite3.connect(":memory:") as database:
        assert database.execute(statement.text, statement.values).fetchone() == (value, other)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn", "Zs"], exclude_characters="."), min_size=1, max_size=30))  # fmt: skip
def test_a_real_parser_reads_back_a_quoted_name(name: str) -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute(f"create table {quote_identifier(SQLITE, name)} (x)")
        assert database.execute("select name from sqlite_master").fetchall() == [(name,)]

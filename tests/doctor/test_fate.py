"""Where addresses lead, and which lead to the same server."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.doctor.fate import Endpoint, Other, endpoints, judge
from quell.doctor.judgement import Level


@pytest.mark.parametrize(
    ("kind", "url", "found"),
    [
        ("postgresql", "postgresql://u:p%2F@db:6432/shop?sslmode=require", [("db", 6432, "shop")]),
        ("postgres", "postgres://db/shop", [("db", 5432, "shop")]),
        ("postgresql", "postgresql://a:1,b:2/shop", [("a", 1, "shop"), ("b", 2, "shop")]),
        ("postgresql", "postgresql:///shop?host=/run/postgresql", [("localhost", 5432, "shop")]),
        ("postgresql", "postgresql+psycopg://db/shop", [("db", 5432, "shop")]),
        ("mysql", "mysql://u@db/shop", [("db", 3306, "shop")]),
        ("redis", "redis://cache:7000/2", [("cache", 7000, "2")]),
        ("", "https://api.example/x", [("api.example", 443, "x")]),
        ("", "what is this", []),
        ("postgresql", "postgresql://u:p@[bad/x", []),
    ],
)
def test_where_an_address_leads(kind: str, url: str, found: list[tuple[str, int, str]]) -> None:
    assert [(one.host, one.port, one.name) for one in endpoints(kind, url)] == found


def test_a_file_is_itself(tmp_path: Path) -> None:
    assert endpoints("sqlite", f"sqlite:///{tmp_path}/a.db") == endpoints("sqlite", f"{tmp_path}/./a.db")


@given(st.text(max_size=60), st.sampled_from(["postgresql", "mysql", "redis", "sqlite", ""]))
def test_any_text_is_no_more_than_unreadable(text: str, kind: str) -> None:
    endpoints(kind, f"{kind or 'x'}://{text}")


OWN = [Endpoint("db", 5432, "quell")]
RESOLVED = {
    "db": frozenset({"10.0.0.1"}),
    "db.bank": frozenset({"10.0.0.2", "10.0.0.1"}),
    "else": frozenset({"10.0.0.9"}),
}


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (Endpoint("db.bank", 5432, "quell"), "the same database as postgresql ledger, which fix acts on"),
        (Endpoint("db.bank", 5432, "ledger"), "another database of the same server as postgresql ledger"),
        (Endpoint("db.bank", 5433, "quell"), ""),
        (Endpoint("else", 5432, "quell"), ""),
        (Endpoint("", 0, "/quell.db"), ""),
        (Endpoint("DB", 5432, "quell"), ""),
    ],
)
def test_one_server_is_one_fate(theirs: Endpoint, said: str) -> None:
    (judged,) = judge(OWN, [Other("postgresql ledger", (theirs,), "which fix acts on")], RESOLVED)
    assert judged.level is (Level.WARNING if said else Level.OK)
    assert judged.found.startswith(said)


def test_a_name_that_leads_nowhere_is_equal_to_itself() -> None:
    (judged,) = judge([Endpoint("gone", 1, "a")], [Other("x", (Endpoint("GONE", 1, "a"),), "why")], {})
    assert judged.level is Level.WARNING

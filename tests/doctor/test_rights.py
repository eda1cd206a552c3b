"""Rights as servers tell them → what is too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.doctor.asked import Failure
from quell.doctor.judgement import Level
from quell.doctor.rights import Rights, judge, of_mysql, of_postgres, of_redis

PLAIN = {"role": "quell", "writable": 0, "example": None, "powers": None, "creates": False}


@pytest.mark.parametrize(
    ("row", "powers", "writes"),
    [
        (PLAIN, (), ()),
        (PLAIN | {"superuser": True, "createrole": True, "powers": "pg_write_all_data"}, ("superuser",), ()),
        (PLAIN | {"createrole": True, "createdb": True}, ("CREATEROLE", "CREATEDB"), ()),
        (PLAIN | {"powers": "pg_execute_server_program, pg_write_all_data"},
         ("pg_execute_server_program", "pg_write_all_data"), ()),
        (PLAIN | {"writable": 1, "example": "orders"}, (), ("1 table such as orders",)),
        (PLAIN | {"writable": 2, "example": "orders", "creates": True}, (), ("2 tables such as orders", "new schemas")),
    ],
)  # fmt: skip
def test_postgres(row: dict[str, object], powers: tuple[str, ...], writes: tuple[str, ...]) -> None:
    assert of_postgres(row) == Rights("quell", powers, writes)


@pytest.mark.parametrize(
    ("line", "powers", "writes"),
    [
        ("GRANT USAGE ON *.* TO `quell`@`%`", (), ()),
        ("GRANT SELECT, PROCESS ON *.* TO `quell`@`%` IDENTIFIED BY PASSWORD '*00'", (), ()),
        ("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION",
         ("ALL PRIVILEGES ON *.*", "GRANT OPTION on *.*"), ("ALL PRIVILEGES on *.*",)),
        ("GRANT SELECT, INSERT (a, b), UPDATE ON `shop`.`orders` TO `quell`@`%`", (), ("INSERT, UPDATE on shop.orders",)),
        ("GRANT SUPER, FILE ON *.* TO `quell`@`%`", ("SUPER", "FILE"), ()),
        ("GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `quell`@`%`", (), ()),
        ("GRANT `writers` TO `quell`@`%`", (), ()),
        ("nothing like it", (), ()),
    ],
)  # fmt: skip
def test_mysql(line: str, powers: tuple[str, ...], writes: tuple[str, ...]) -> None:
    assert of_mysql("quell@%", [line]) == Rights("quell@%", powers, writes)


@pytest.mark.parametrize(
    ("flags", "rules", "powers", "writes"),
    [
        (["on"], "-@all +@read +info", (), ()),
        (["on", "nopass"], "+@all", ("needs no password", "administrative commands"), ("its keys",)),
        (["on"], "+@all -@dangerous", (), ("its keys",)),
        (["on"], "+@all -@admin -@write", (), ()),
        (["on"], "-@all +@read +config", ("administrative commands",), ()),
        (["on"], "-@all +config|get +slowlog", (), ()),
        (["on"], "-@all +set -set", (), ()),
        (["on"], "-@all +flushdb", (), ("its keys",)),
        (["on"], "allcommands nocommands", (), ()),
    ],
)
def test_redis(flags: list[str], rules: str, powers: tuple[str, ...], writes: tuple[str, ...]) -> None:
    assert of_redis("quell", flags, rules) == Rights("quell", powers, writes)


RULES = st.lists(st.sampled_from(["+@all", "-@all", "+@write", "-@write", "+set", "-set", "+get", "+@read"]))


@given(RULES)
def test_the_last_word_about_everything_counts(rules: list[str]) -> None:
    assert not of_redis("u", [], " ".join([*rules, "-@all"])).writes
    assert of_redis("u", [], " ".join([*rules, "+@all"])).writes
    assert of_redis("u", [], " ".join([*rules, "-@all", "+get"])) == Rights("u")


@pytest.mark.parametrize(
    ("seen", "acted_on_by", "level", "said"),
    [
        (Rights("r"), [], Level.OK, "only reads"),
        (Rights("r", (), ("1 table such as t",)), [], Level.WARNING, "may write (1 table such as t)"),
        (Rights("r", (), ("1 table such as t",)), ["fix"], Level.OK, "as fix does"),
        (Rights("r", (), ("1 table such as t",)), None, Level.OK, "may write, and has no power"),
        (Rights("r", ("superuser",)), ["fix"], Level.WARNING, "superuser"),
        (Rights("r", ("superuser",)), None, Level.WARNING, "superuser"),
        (Failure("denied", "no permission"), [], Level.OK, "may not ask for its own rights"),
        (Failure("invalid", "no such table"), [], Level.WARNING, "no such table"),
    ],
)
def test_what_is_too_much(seen: Rights | Failure, acted_on_by: list[str] | None, level: Level, said: str) -> None:
    judged = judge("pg", seen, acted_on_by, "make a role")
    assert judged.level is level
    assert said in judged.found

"""Taking back: what was done is undone as it was done, whatever has become true since."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.app import STATE, do, house, runbook

pytestmark = pytest.mark.anyio


def step(name: str, value: object, rest: str = "") -> str:
    return f"- {{id: {name}, type: automated, action: {do(name, value)}{rest}}}\n"


WHO = f"- {STATE}\n- {{id: leak, type: shell_command, config: {{command: [cat, @/who]}}, interpret: {{critical: exit_code == 0}}}}"
NUDGE = "- {id: nudge, type: automated, action: {type: run_script, config: {command: [@/nudge]}}}\n"
TREE = "- {condition: state.critical, then: [cap, nudge]}\n- {condition: state.warning, then: [bad]}"
"""First it improves, and the evidence names somebody else; then it gets worse."""


def prepare(folder: Path) -> None:
    (folder / "who").write_text("app_a")
    (folder / "nudge").write_text(f"#!/bin/sh\necho 5 > {folder}/state\nprintf app_b > {folder}/who\n")
    (folder / "nudge").chmod(0o755)


async def test_a_statement_is_taken_back_on_whom_it_was_made(tmp_path: Path) -> None:
    prepare(tmp_path)
    with sqlite3.connect(tmp_path / "shop.db") as db:
        for name, value in (("app_a", 77), ("app_b", 33)):
            db.execute(f"create table {name} (v int)")
            db.execute(f"insert into {name} values ({value})")
    cap = (
        "- {id: cap, type: automated, capture: {before: 'select v from {role}'}, action: {type: run_script, config: "
        "{database: shopdb, sql: 'update {role} set v = 20', identifiers: {role: '${leak.stdout}'}}}, "
        "undo: {sql: 'update {role} set v = {captured.before}', on: worse}}\n"
    )
    more = "connections: {shopdb: {type: sqlite, url: 'sqlite:///@/shop.db'}}\n"
    async with house(tmp_path, runbook(TREE, cap + NUDGE + step("bad", 500), diagnostics=WHO), more=more) as home:
        now = await home.escalated(await home.fire())
        assert now.verdict == "worse"
        with sqlite3.connect(tmp_path / "shop.db") as db:
            assert db.execute("select (select v from app_a), (select v from app_b)").fetchone() == (77, 33)


async def test_an_actions_own_undo_is_about_its_own_target(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "flags.json").write_text('{"app_a": 0, "app_b": 1}')
    cap = "- {id: cap, type: automated, action: {type: set_flag, config: {flag: '${leak.stdout}', value: 1, file: @/flags.json}}, undo: {on: worse}}\n"
    async with house(tmp_path, runbook(TREE, cap + NUDGE + step("bad", 500), diagnostics=WHO)) as home:
        await home.escalated(await home.fire())
        assert json.loads((tmp_path / "flags.json").read_text()) == {"app_a": 0, "app_b": 1}


async def test_what_was_done_once_per_target_is_undone_once_per_target(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0, "b": 0}')
    flags = "- {id: flags, type: automated, for_each: {n: [a, b]}, action: {type: set_flag, config: {flag: '${n}', value: 1, file: @/flags.json}}, undo: {on: worse}}\n"
    book = runbook("- {condition: state.critical, then: [flags, bad]}", flags + step("bad", 500))
    async with house(tmp_path, book) as home:
        now = await home.escalated(await home.fire())
        assert (now.verdict, now.refusals) == ("worse", ())
        assert json.loads((tmp_path / "flags.json").read_text()) == {"a": 0, "b": 0}


async def test_what_was_within_a_limit_is_taken_back_within_it(tmp_path: Path) -> None:
    """As much back as there was forth: not knowing how much would be over the limit, and left in place."""
    prepare(tmp_path)
    (tmp_path / "flags.json").write_text('{"a": 0}')
    flag = "- {id: flag, type: automated, action: {type: set_flag, config: {flag: a, value: 1, file: @/flags.json}}}\n"
    book = runbook("- {condition: state.critical, then: [flag, bad]}", flag + step("bad", 500))
    more = "guardrails: {actions: {set_flag: {max_magnitude: 1}}}\n"
    async with house(tmp_path, book, more=more) as home:
        now = await home.escalated(await home.fire())
        assert (now.verdict, now.refusals) == ("worse", ())
        assert json.loads((tmp_path / "flags.json").read_text()) == {"a": 0}

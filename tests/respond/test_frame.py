"""The act frame in a real App: refusals are named and recorded, conditions gate, nothing happens twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quell.engine import ledger
from quell.errors import Refused
from quell.incident.action import Asks
from quell.incident.event import EventKind
from quell.incident.incident import Status
from quell.registry import Registry
from quell.respond import permit
from quell.respond.look import params_of
from quell.respond.means import Context
from quell.respond.prepared import Prepared, Request, tightened
from quell.runbook.plan import Act, Call, Postcondition
from tests.app import STATE, VERIFY, House, do, house, runbook
from tests.servers.process import RunServer
from tests.servers.redis import Redis

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"


def fix(value: object = 0, rest: str = "", *more: object) -> str:
    return f"- {{id: fix, type: automated, action: {do('fix', value, *more)}{rest}}}\n"


def flag(name: str, rest: str = "", value: object = 1) -> str:
    return f"- {{id: {name}, type: automated, action: {{type: set_flag, config: {{flag: {name}, value: {value}, file: @/flags.json}}}}{rest}}}\n"


async def refusal(home: House, incident: str) -> dict[str, Any]:
    await home.escalated(incident)
    return (await home.told_of(incident, EventKind.ACTION_REFUSED))[-1]


# Refusals, with rule, value and limit.


@pytest.mark.parametrize(
    ("rails", "rest", "rule", "value", "limit"),
    [
        ("{run_script: {allow: false}}", "", "not_allowed", None, None),
        ("{run_script: {parameters: {cwd: {one_of: [/srv]}}}}", "", "parameter", None, "cwd"),
        ("{run_script: {max_magnitude: 3}}", "", "max_magnitude", None, 3.0),
        ("{}", ", guard: {command: [restart]}", "guard", ["@/do", "fix", "0"], "restart"),
        ("{}", ", precondition: 'state.value < 10'", "precondition", None, "state.value < 10"),
        ("{}", ", capture: {limit: 'select 1'}", "capture", None, None),
    ],
)  # fmt: skip
async def test_a_refusal_is_recorded_with_its_rule_value_and_limit(
    tmp_path: Path, rails: str, rest: str, rule: str, value: object, limit: object
) -> None:
    more = f"guardrails: {{actions: {rails}}}\n"
    async with house(tmp_path, runbook(FIX, fix(rest=rest)), more=more) as home:
        told = await refusal(home, await home.fire())
        expected = json.loads(json.dumps(value).replace("@/", f"{tmp_path}/"))
        assert (told["rule"], told["value"], told["limit"]) == (rule, expected, limit)
        assert home.effects == []


SEES = "{run: cat, args: [@/state]}"
NARROW = f"guardrails: {{commands: [{SEES}, {{run: @/do, args: [fix, '/[0-9]+/']}}]}}\n"


async def test_a_command_of_a_shape_runs(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, fix()), more=NARROW.replace("@/", f"{tmp_path}/")) as home:
        assert (await home.over(await home.fire())).outcome == "resolved"
        assert home.effects == ["fix"]


@pytest.mark.parametrize(
    ("act", "value", "limit"),
    [
        (do("other", 0), "'other'", "fix"),
        (do("fix", 0, "1; rm -r /"), "'1; rm -r /'", "at most 2"),
        ("{type: run_script, config: {command: [@/do, fix], args: ['${state.stdout}x']}}", "'50x'", "/[0-9]+/"),
        ("{type: run_script, config: {command: [@/do, fix, '0'], env: {PATH: /evil}}}", "'PATH'", "none"),
        ("{type: run_script, config: {command: [sh, -c, @/do]}}", "'sh'", "one of @/do, cat"),
    ],
)
async def test_a_command_of_no_shape_is_refused_with_its_rule_value_and_limit(
    tmp_path: Path, act: str, value: str, limit: str
) -> None:
    book = runbook(FIX, f"- {{id: fix, type: automated, action: {act}}}\n")
    async with house(tmp_path, book, more=NARROW.replace("@/", f"{tmp_path}/")) as home:
        told = await refusal(home, await home.fire())
        assert (told["rule"], told["value"], told["limit"]) == ("command", value, limit.replace("@/", f"{tmp_path}/"))
        assert home.effects == []


async def test_an_undo_by_a_command_of_no_shape_is_refused_as_well(tmp_path: Path) -> None:
    back = ", undo: {command: [@/do, back, '0'], on: worse}"
    tree = "- {condition: state.critical, then: [fix]}"
    async with house(tmp_path, runbook(tree, fix(500, back)), more=NARROW.replace("@/", f"{tmp_path}/")) as home:
        told = await refusal(home, await home.fire())
        assert (told["rule"], told["value"], home.effects) == ("command", "'back'", ["fix"])


async def test_a_check_by_a_command_of_no_shape_is_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    more = NARROW.replace("@/", f"{tmp_path}/")
    evil = "{id: evil, type: shell_command, config: {command: [cat, @/state, @/secret]}, interpret: {healthy: exit_code == 0}}"
    line = "{id: line, type: shell_command, config: {command: cat @/state}, interpret: {healthy: exit_code == 0}}"
    seen = f"- {STATE}\n- {evil}\n- {line}"
    async with house(tmp_path, runbook(FIX, fix(), diagnostics=seen), more=more) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.outcome, now.findings["state"]["status"]) == ("resolved", "critical")
        for name, value in (("evil", f"'{tmp_path}/secret'"), ("line", f"'cat {tmp_path}/state'")):
            found = now.findings[name]
            assert (found["status"], found["error_class"]) == ("error", "denied")
            assert found["evidence"]["rule"] == "command"
            assert found["evidence"]["value"] == value
            assert value in found["message"]


@pytest.mark.parametrize("place", ["signal", "require", "batch"])
async def test_a_verification_runs_no_other_commands_than_a_diagnosis(tmp_path: Path, place: str) -> None:
    peek = "type: shell_command, config: {command: [@/do, peek, '0']}, interpret: {healthy: exit_code == 0}"
    seen, verify, rest = f"- {STATE}\n", VERIFY, ""
    if place == "require":
        verify = VERIFY.replace("verify: {", f"verify: {{require: {{{peek}}}, ")
    else:
        seen += f"- {{id: peek, {peek}}}"
        verify = VERIFY.replace("[state]", "[state, peek]")
    if place == "batch":
        rest = ", for_each: {one: [1, 2], stop_on: worse}"
    more = NARROW.replace("@/", f"{tmp_path}/")
    async with house(tmp_path, runbook(FIX, fix(rest=rest), diagnostics=seen, verify=verify), more=more) as home:
        await home.over(await home.fire())
        assert set(home.effects) == {"fix"}


async def test_what_may_run_hangs_on_where_the_service_runs(tmp_path: Path) -> None:
    more = f"environment: staging\nguardrails: {{overrides: [{{environments: [production], commands: [{SEES}]}}]}}\n"
    for number, (where, outcome) in enumerate((("staging", "resolved"), ("production", "escalated"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        services = f"{{shop: {{environment: {where}}}}}"
        async with house(folder, runbook(FIX, fix()), services=services, more=more.replace("@/", f"{folder}/")) as home:
            assert (await home.over(await home.fire())).outcome == outcome, where
            assert home.effects == (["fix"] if outcome == "resolved" else [])


async def test_default_deny(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, fix()), more="guardrails: {default_allow: false}\n") as home:
        assert (await refusal(home, await home.fire()))["rule"] == "not_allowed"


async def test_an_unknown_service_is_diagnosed_and_paged_and_never_acted_on(tmp_path: Path) -> None:
    book = runbook(FIX, fix()).replace("service: shop\n", "")
    async with house(tmp_path, book) as home:
        incident = await home.fire(service="")
        told = await refusal(home, incident)
        now = await home.app.incident(incident)
        assert (told["rule"], now.service, home.effects) == ("unknown_service", None, [])
        assert now.findings["state"]["status"] == "critical"


async def test_a_mapping_rule_of_the_catalogue_finds_the_service(tmp_path: Path) -> None:
    book = runbook(FIX, fix()).replace("service: shop\n", "")
    async with house(tmp_path, book, services="{shop: {match: [{team: sales}]}}") as home:
        incident = await home.fire(service="", team="sales")
        now = await home.over(incident)
        assert (now.service, home.effects) == ("shop", ["fix"])


async def test_a_used_up_rate_refuses_the_third(tmp_path: Path) -> None:
    """Twelve restarts healed it twelve times: the breaker counts successes too."""
    more = "guardrails: {actions: {run_script: {rate: 2/1h}}}\n"
    async with house(tmp_path, runbook(FIX, fix()), more=more) as home:
        for _ in range(2):
            home.state(50)
            incident = await home.fire()
            assert (await home.over(incident)).outcome == "resolved"
            await home.calm()
        home.state(50)
        told = await refusal(home, await home.fire())
        assert (told["rule"], told["value"], told["limit"]) == ("rate", 2, 2)
        assert home.effects == ["fix", "fix"]


async def test_the_runbooks_own_rate_counts_too(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, fix(rest=", guard: {rate: 1/1h}"))) as home:
        assert (await home.over(await home.fire())).outcome == "resolved"
        await home.calm()
        home.state(50)
        told = await refusal(home, await home.fire())
        assert (told["rule"], told["limit"]) == ("runbook_rate", 1)


async def test_a_refusal_is_followed_by_the_next_decision(tmp_path: Path) -> None:
    book = runbook(
        FIX + "\n- {condition: state.value > 20, then: [other]}",
        fix(rest=", precondition: 'state.value < 10'") + f"- {{id: other, type: automated, action: {do('other', 0)}}}",
    )
    async with house(tmp_path, book) as home:
        assert (await home.over(await home.fire())).outcome == "resolved"
        assert home.effects == ["other"]


# Conditions before and after.


async def test_a_precondition_that_cannot_be_told_refuses(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    book = runbook(FIX.replace("fix", "a"), flag("a", ", precondition: 'gone.value == 1'"), diagnostics="""\
- {id: state, type: shell_command, config: {command: [cat, @/state]}, interpret: {critical: value >= 10}}
- {id: gone, type: shell_command, config: {command: [cat, @/nothing-here]}}""")  # fmt: skip
    async with house(tmp_path, book) as home:
        assert (await refusal(home, await home.fire()))["rule"] == "precondition"
        assert json.loads((tmp_path / "flags.json").read_text()) == {"a": 0}


async def test_a_precondition_sees_what_the_action_sees_now(tmp_path: Path) -> None:
    """Somebody changed the target since: ``value`` is the flag as it is, not as it was."""
    (tmp_path / "flags.json").write_text('{"a": "mine"}')
    async with house(tmp_path, runbook(FIX.replace("fix", "a"), flag("a", ", precondition: 'value == 0'"))) as home:
        told = await refusal(home, await home.fire())
        assert told["rule"] == "precondition"
        assert "mine" in told["reason"]


async def test_a_postcondition_that_does_not_hold_is_a_failure_and_the_next_decision_follows(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    book = runbook(
        FIX.replace("fix", "a") + "\n- {condition: state.value > 20, then: [fix]}",
        flag("a", ", postcondition: {check: value == 2, within: 0.3s}") + fix(),
    )
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", ["fix"])
        told = await home.told_of(incident, EventKind.ACTION_FINISHED)
        assert [one["result"] for one in told] == ["failed", "done"]
        assert "postcondition does not hold" in told[0]["summary"]
        assert len(await home.told_of(incident, EventKind.CHECK_FINISHED)) == 2


HANGS = runbook(
    FIX + "\n- {condition: state.value > 20, then: [two]}",
    fix(0, ", timeout: 0.4s", 30) + f"\n- {{id: two, type: automated, action: {do('two', 0)}}}",
)


async def test_what_does_not_end_in_time_is_unknown_and_a_person_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path, HANGS) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        assert (asked.asks, home.effects) == (Asks.HAPPENED, ["fix"])
        assert "no answer within 0.4 s" in asked.why
        assert await ledger_of(home, asked.node.removesuffix("/happened")) == "unknown"
        await home.calm()
        now = await home.app.incident(incident)
        assert now.status.value == "waiting_approval"


@pytest.mark.parametrize(("said", "results", "effects"), [
    ("done", ["unknown", "done"], ["fix"]), ("denied", ["unknown", "failed", "done"], ["fix", "two"]),
])  # fmt: skip
async def test_what_a_person_says_of_it_counts(
    tmp_path: Path, said: str, results: list[str], effects: list[str]
) -> None:
    async with house(tmp_path, HANGS) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        if said == "done":
            (tmp_path / "state").write_text("0")
        await home.app.answer(asked.approval, said, "anna", "I looked")
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", effects)
        told = await home.told_of(incident, EventKind.ACTION_FINISHED)
        assert [one["result"] for one in told] == results
        assert "anna says it" in told[1]["summary"]
        assert "I looked" in told[1]["summary"]
        assert await ledger_of(home, asked.node.removesuffix("/happened")) == results[1]


@pytest.mark.parametrize("change", ["silence", "stop"])
async def test_what_nobody_can_say_stays_unknown_and_is_paged(tmp_path: Path, change: str) -> None:
    book = HANGS if change == "silence" else HANGS.replace("timeout: 0.4s", "timeout: 0.4s, on_unknown: stop")
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        if change == "silence":
            await home.app.answer((await home.asked(incident)).approval, "expired", "nobody")
        now = await home.escalated(incident)
        assert home.effects == ["fix"]
        assert [deed.result for deed in now.deeds.values()] == ["unknown"]
        assert "may or may not have been done" in now.reason
        assert len(now.approvals) == (change == "silence")


async def ledger_of(home: House, key: str) -> str:
    found = await home.app.database.read(lambda c: ledger.find(c, key))
    assert found is not None
    return found.state


async def test_nothing_of_a_deed_is_left_open_after_it(tmp_path: Path) -> None:
    """The lease is given back whatever came of it: the next incident on the same target does not wait."""
    book = runbook(FIX, fix(50, "", 0, 3), more="max_rounds: 1\n")
    async with house(tmp_path, [book]) as home:
        for replica in ("1", "2"):
            incident = await home.fire(replica=replica)
            await home.escalated(incident)
            await home.app.resolve(incident, "anna")
            await home.calm(replica=replica)
        assert home.effects == ["fix", "fix"]
        left = await home.app.database.read(lambda c: c.exec_driver_sql("select count(*) from quell_leases").scalar())
        assert left == 0


# Order, targets, batches.


def each(rest: str, script: str = "do") -> str:
    return (
        f"- {{id: fix, type: automated, for_each: {{n: [a, b, c]{rest}}}, action: {{type: run_script, config: "
        f"{{command: [@/{script}, '${{n}}', '50']}}}}}}\n"
    )


def shell(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text("#!/bin/sh\n" + text.replace("@/", f"{folder}/"))
    (folder / name).chmod(0o755)


async def test_every_target_gets_its_own_pass(tmp_path: Path) -> None:
    shell(tmp_path, "last", 'echo "$1" >> @/effects; if [ "$1" = c ]; then echo 0 > @/state; fi\n')
    async with house(tmp_path, runbook(FIX, each("", "last"))) as home:
        incident = await home.fire()
        assert (await home.over(incident)).outcome == "resolved"
        assert home.effects == ["a", "b", "c"]
        told = await home.told_of(incident, EventKind.ACTION_FINISHED)
        assert [one["target"] for one in told] == ["a", "b", "c"]


async def test_a_failure_stops_the_rest(tmp_path: Path) -> None:
    shell(tmp_path, "second", 'echo "$1" >> @/effects; [ "$1" != b ]\n')
    async with house(tmp_path, runbook(FIX, each("", "second"))) as home:
        await home.escalated(await home.fire())
        assert home.effects == ["a", "b"]


async def test_when_it_gets_worse_between_batches_the_rest_is_left_alone(tmp_path: Path) -> None:
    """A restart during a surge makes it worse: the users' signal is watched between batches."""
    shell(tmp_path, "surge", 'echo "$1" >> @/effects; echo 500 > @/state\n')
    async with house(tmp_path, runbook(FIX, each(", batch: 2, stop_on: worse", "surge"))) as home:
        now = await home.escalated(await home.fire())
        assert (home.effects, now.verdict) == (["a", "b"], "worse")


async def test_needs_order_the_steps_of_a_decision(tmp_path: Path) -> None:
    steps = "".join(
        f"- {{id: {name}, type: automated, action: {do(name, value)}{rest}}}\n"
        for name, value, rest in (("one", 50, ""), ("two", 0, ", needs: [one]"))
    )
    async with house(tmp_path, runbook("- {condition: state.critical, then: [one, two]}", steps)) as home:
        assert (await home.over(await home.fire())).outcome == "resolved"
        assert home.effects == ["one", "two"]


async def test_what_is_kept_for_now_becomes_an_obligation(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, fix(rest=", revert: {after: 24h, ask: sales}"))) as home:
        incident = await home.fire()
        now = await home.over(incident)
        made = (await home.told_of(incident, EventKind.OBLIGATION_MADE))[0]
        assert (now.status, now.obligations) == (Status.RESOLVED, (made["obligation"],))
        assert made["owner"] == "sales"


async def test_captured_values_come_back_with_the_undo(tmp_path: Path) -> None:
    """On a real database: the limit of before is remembered, and put back when things got worse."""
    import sqlite3

    target = tmp_path / "shop.db"
    with sqlite3.connect(target) as db:
        db.execute("create table limits (name text primary key, value int)")
        db.execute("insert into limits values ('app', 77)")
    cap = (
        "- {id: cap, type: automated, capture: {before: 'select value from limits'}, action: {type: run_script, config: "
        "{database: shopdb, sql: 'update limits set value = 20'}}, undo: {sql: 'update limits set value = {captured.before}', on: worse}}\n"
    )
    book = runbook("- {condition: state.critical, then: [cap, fix]}", cap + fix(500))
    async with house(tmp_path, book, more=f"connections: {{shopdb: {{type: sqlite, url: '{target}'}}}}\n") as home:
        now = await home.escalated(await home.fire())
        assert now.verdict == "worse"
        with sqlite3.connect(target) as db:
            assert db.execute("select value from limits").fetchone() == (77,)
        assert [deed.result for deed in now.deeds.values()] == ["done", "done", "done"]


# Two incidents, one target.


async def test_two_incidents_do_not_act_on_one_target_at_once(tmp_path: Path, database: str) -> None:
    shell(tmp_path, "pool", 'echo "in $1" >> @/order; sleep 0.6; echo 0 > "@/state$1"; echo "out $1" >> @/order\n')
    books = []
    for name in "ab":
        (tmp_path / f"state{name}").write_text("50")
        text = runbook(
            FIX, f"- {{id: fix, type: automated, action: {{type: run_script, config: {{command: [@/pool, {name}]}}}}}}"
        )
        books.append(
            text.replace("id: down", f"id: down-{name}")
            .replace("Down", f"Down{name}")
            .replace("@/state", f"@/state{name}")
        )
    async with house(tmp_path, books, database=database) as home:
        incidents = [await home.fire(f"Down{name}") for name in "ab"]
        assert len(set(incidents)) == 2
        for incident in incidents:
            assert (await home.over(incident)).outcome == "resolved"
        order = (tmp_path / "order").read_text().split("\n")[:4]
        assert sorted(order[:2]) in (["in a", "out a"], ["in b", "out b"])
        assert len(set(order)) == 4


# Numbers of any size.


@pytest.mark.parametrize("number", [2**53 + 1, 10**25, "1e400"])
async def test_a_fact_of_any_size_does_not_end_the_run(tmp_path: Path, number: object) -> None:
    async with house(tmp_path, runbook(FIX, fix()), state=number) as home:
        now = await home.over(await home.fire())
        assert now.outcome in ("resolved", "escalated")


# What somebody agreed to, and what lives on meanwhile.


@pytest.mark.parametrize(("more", "rules", "left"), [(1, [], 0), (30, ["changed"], 40)])
async def test_what_was_approved_may_grow_a_little(
    tmp_path: Path, run_server: RunServer, more: int, rules: list[str], left: int
) -> None:
    """A cache does not stand still while somebody reads the question; to more than twice it was not agreed."""
    server = run_server(Redis())
    act = "- {id: fix, type: automated, requires_approval: true, action: {type: flush_cache, config: {connection: cache, pattern: 'q:*'}}}\n"
    with server.client() as client:
        for number in range(10):
            client.set(f"q:{number}", number)
        connections = f"connections: {{cache: {{type: redis, url: '{server.url()}'}}}}\n"
        async with house(tmp_path, runbook(FIX, act), more=connections) as home:
            incident = await home.fire()
            asked = await home.asked(incident)
            for number in range(more):
                client.set(f"q:new{number}", 1)
            await home.app.answer(asked.approval, "approved", "anna")
            now = await home.over(incident)
            assert ([one["rule"] for one in now.refusals], client.dbsize()) == (rules, left)


@pytest.mark.parametrize(
    ("guard", "why"), [("script: [nothing]", "does not have"), ("undoSql: [nothing]", "undo_sql must")]
)
async def test_a_guard_counts_under_every_spelling_and_one_that_guards_nothing_is_a_no(
    tmp_path: Path, guard: str, why: str
) -> None:
    act = f"- {{id: fix, type: automated, guard: {{{guard}}}, action: {{type: run_script, config: {{script: @/do, undo_sql: x}}}}}}\n"
    async with house(tmp_path, runbook(FIX, act)) as home:
        told = await refusal(home, await home.fire())
        assert told["rule"] == "guard"
        assert why in told["reason"]
        assert home.effects == []


def test_a_limit_of_the_runbook_never_loosens_what_holds_anyway() -> None:
    kind = Registry().action("terminate_sessions")
    config = {"database": "db", "role": "app", "idle_in_transaction_over": "5m"}
    for given, limit, left in ((None, 500, 20), (None, 5, 5), ("${vars.most}", 500, 7)):
        written = config | ({"max_sessions": given} if given else {})
        env = {"vars": {"most": 7}}
        held = tightened(params_of(kind.params, written, env), written, env, {"max_sessions": limit}, kind)
        assert held.max_sessions == left


async def test_of_a_service_that_is_up_nobody_can_tell_whether_it_was_restarted() -> None:
    """Only what holds because it was done settles what is unknown."""
    own = Postcondition(condition="1 == 1")
    for name, proof in (
        ("restart_service", None), ("scale_up", None), ("run_script", "1 == 1"),
        ("rollback", f"({Registry().action('rollback').postcondition}) && (1 == 1)"),
    ):  # fmt: skip
        act = Act(id="fix", call=Call(type=name), postcondition=own)
        request = Request(context=Context(incident="i"), act=act, key="k")
        prepared = Prepared(request, Registry().action(name), None, {}, None, None, "", "", "", None, "")  # type: ignore[arg-type]
        assert prepared.proof() == proof


async def test_a_postcondition_counts_where_the_action_sees_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, fix(rest=", postcondition: {check: '1 == 2', within: 0.1s}"))) as home:
        incident = await home.fire()
        await home.over(incident)
        told = await home.told_of(incident, EventKind.ACTION_FINISHED)
        assert [one["result"] for one in told] == ["failed"]
        assert "postcondition does not hold" in told[0]["summary"]


OWNED = "{shop: {owner: sales}, mail: {owner: platform}}"


@pytest.mark.parametrize(
    ("owner", "acts_on", "more", "outcome"),
    [
        ("", "shop", "", "resolved"),  # of whoever owns what it is for
        ("sales", "shop", "", "resolved"),
        ("platform", "shop", "", "escalated"),
        ("platform", "shop", "guardrails: {ownership: {also: {platform: [shop]}}}", "resolved"),
        ("platform", "shop", "guardrails: {ownership: {enforced: false}}", "resolved"),
    ],
)
async def test_a_runbook_acts_on_what_its_owner_owns(
    tmp_path: Path, owner: str, acts_on: str, more: str, outcome: str
) -> None:
    one = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
    book = runbook(FIX, one, more=f"owner: {owner}" if owner else "")
    async with house(tmp_path, book, services=OWNED, more=more) as home:
        now = await home.over(await home.fire(service=acts_on))
        assert now.outcome == outcome
        assert home.effects == (["fix"] if outcome == "resolved" else [])
        if outcome == "escalated":
            assert (now.refusals[0]["rule"], now.refusals[0]["value"], now.refusals[0]["limit"]) == (
                "ownership", "platform", "sales",
            )  # fmt: skip


STAGING = "environment: production\nguardrails: {overrides: [{environments: [production], default_allow: false}]}"


async def test_an_alert_cannot_widen_its_limits_by_the_environment_that_it_names(tmp_path: Path) -> None:
    one = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
    async with house(tmp_path, runbook(FIX, one), more=STAGING) as home:
        now = await home.over(await home.fire(environment="staging"))
        assert (now.refusals[0]["rule"], home.effects) == ("not_allowed", [])


async def test_a_freeze_stops_what_an_alert_would_start(tmp_path: Path) -> None:
    one = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
    more = "guardrails: {freezes: [{name: the sale, from: 2020-01-01, for: 3650d, reason: people buy}]}"
    async with house(tmp_path, runbook(FIX, one), more=more) as home:
        now = await home.escalated(await home.fire())
        assert (now.refusals[0]["rule"], home.effects) == ("freeze", [])
        assert "people buy" in now.reason


async def test_what_was_begun_and_is_refused_the_second_time_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash left an intent of an action that may be repeated; before it is, somebody pulls the kill switch."""
    kept = {"captured": {}, "risk": "low", "call": "a = 1", "targets": ["a"], "magnitude": None}
    (tmp_path / "flags.json").write_text('{"a": 0}')

    def begun(connection: Any, key: str) -> ledger.Intent:
        return ledger.Intent(key, "set_flag", "intended", True, kept, None, 0, "dead")

    async def paused(*given: Any, **named: Any) -> None:
        raise Refused("paused", "every action is paused")

    monkeypatch.setattr(ledger, "find", begun)
    monkeypatch.setattr(permit, "intend", paused)
    async with house(
        tmp_path,
        runbook(
            "- {condition: state.critical, then: [a]}",
            flag("a", ", on_unknown: stop, postcondition: {check: 'value == 1', within: 0.2s}"),
        ),
    ) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert "may or may not have been done" in now.reason
        assert "may not be repeated: every action is paused" in now.reason
        assert await home.told_of(incident, EventKind.ACTION_REFUSED) == []

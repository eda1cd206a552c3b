"""The deterministic walk: the order in which steps are drawn does not depend on what finishes first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quell.engine.graph import settle
from quell.engine.tables import metadata

NODES = ["a", "b", "c", "d", "e"]
NEEDS = st.fixed_dictionaries(
    {name: st.sets(st.sampled_from(NODES[:index] or ["a"])) for index, name in enumerate(NODES)}
)


class Walk:
    """``walk`` without an engine: the test says what finishes next, as the engine's record would."""

    def __init__(self, needs: Mapping[str, set[str]], skip: set[str]) -> None:
        self.needs = {name: sources - {name} for name, sources in needs.items()}
        self.skip = skip
        self.results: dict[str, Any] = {}
        self.running: dict[str, Any] = {}
        self.drawn: list[str] = []

    def readiness(self, node: str, results: Mapping[str, Any]) -> Any:
        if not all(source in results for source in self.needs[node]):
            return "wait"
        return "skip" if node in self.skip else "run"

    def start(self, node: str, results: Mapping[str, Any]) -> Any:
        self.drawn.append(node)
        return node

    def settle(self) -> None:
        settle(NODES, self.results, self.running, self.readiness, self.start, None)

    def finish(self, choose: Any) -> list[str]:
        order = []
        self.settle()
        while self.running:
            node = choose(sorted(self.running))
            self.results[node] = f"{node} done"
            del self.running[node]
            order.append(node)
            self.settle()
        return order


@given(NEEDS, st.sets(st.sampled_from(NODES)), st.randoms(use_true_random=False))
def test_every_node_runs_once_after_what_it_needs(needs: dict[str, set[str]], skip: set[str], random: Any) -> None:
    walk = Walk(needs, skip)
    finished = walk.finish(random.choice)
    assert sorted(walk.drawn) == sorted(set(NODES) - skip)
    assert set(walk.results) == set(NODES)
    for node in walk.drawn:
        for source in walk.needs[node] - skip:
            assert finished.index(source) < finished.index(node)


@given(NEEDS, st.randoms(use_true_random=False))
def test_the_same_record_draws_the_same_steps(needs: dict[str, set[str]], random: Any) -> None:
    first = Walk(needs, set())
    finished = first.finish(random.choice)
    again = Walk(needs, set())
    record = iter(finished)
    assert again.finish(lambda running: next(record)) == finished
    assert again.drawn == first.drawn


def test_nodes_that_are_ready_together_are_drawn_in_their_fixed_order() -> None:
    walk = Walk({name: set() for name in NODES}, set())
    walk.settle()
    assert walk.drawn == NODES


def test_the_tables_carry_our_name() -> None:
    assert all(name.startswith("quell_") for name in metadata.tables)


def test_a_walk_over_a_real_engine_survives_losing_it(tmp_path: Any) -> None:
    """Two parallel branches; the process's engine goes away between them, and the second one runs what is left."""
    from quell.engine.durable import Durable
    from quell.engine.graph import walk
    from quell.store.database import Database
    from quell.store.migrate import migrate

    ran: list[str] = []

    async def life(executor: str, *, first: bool) -> Any:
        database = Database(str(tmp_path / "q.db"))
        migrate(database.engine)
        durable = Durable(database.engine, executor_id=executor, poll_s=0.1)
        blocked, result = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def one(name: str) -> str:
            ran.append(name)
            if name == "slow" and first:
                blocked.set()
                await asyncio.sleep(3600)
            return name.upper()

        async def run(request: Any) -> Any:
            needs = {"fast": set(), "slow": set(), "last": {"slow"}}
            found = await walk(
                durable, list(needs), lambda n, done: "run" if needs[n] <= set(done) else "wait",
                lambda n, done: durable.reserve(n, one, n), None,
            )  # fmt: skip
            if not result.done():
                result.set_result(found)
            return found

        durable.workflow("run", run)
        await durable.launch()
        try:
            if first:
                await database.write(lambda c: durable.start_in(c, "run", "r1", {}))
                await durable.kick()
                await asyncio.wait_for(blocked.wait(), 10)
                return None
            durable.recover("first")
            await durable.kick()
            return await asyncio.wait_for(result, 10)
        finally:
            await durable.shutdown()
            database.close()

    asyncio.run(life("first", first=True))
    assert asyncio.run(life("second", first=False)) == {"fast": "FAST", "slow": "SLOW", "last": "LAST"}
    assert sorted(ran) == ["fast", "last", "slow", "slow"]

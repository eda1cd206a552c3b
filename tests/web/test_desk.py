"""What is remembered of who asked: for a moment, not more than so many, never a stranger."""

from __future__ import annotations

import pytest

from quell.incident.access import Caller, Role
from quell.web.desk import REMEMBERED, REMEMBERED_S, Memory, is_loopback, same

ANN = Caller("ann", Role.VIEWER)


class Asked:
    """Counts how often it is asked; knows everybody until told otherwise."""

    def __init__(self) -> None:
        self.times, self.knows, self.now = 0, True, 0.0

    async def __call__(self) -> Caller | None:
        self.times += 1
        return ANN if self.knows else None

    def clock(self) -> float:
        return self.now


@pytest.mark.anyio
async def test_a_caller_is_known_for_a_moment() -> None:
    asked = Asked()
    memory = Memory(asked.clock)
    for _ in range(5):
        assert await memory.ask("a", asked) == ANN
    assert asked.times == 1
    asked.knows = False
    assert await memory.ask("a", asked) == ANN
    asked.now = REMEMBERED_S
    assert await memory.ask("a", asked) is None
    assert len(memory) == 0
    for _ in range(3):
        await memory.ask("a", asked)
    assert asked.times == 5, "a stranger is asked about each time"


@pytest.mark.anyio
async def test_what_was_found_out_slowly_is_as_old_as_the_question() -> None:
    asked = Asked()
    memory = Memory(asked.clock)

    async def slow() -> Caller | None:
        asked.now += REMEMBERED_S
        return await asked()

    await memory.ask("a", slow)
    await memory.ask("a", asked)
    assert asked.times == 2


@pytest.mark.anyio
async def test_it_is_bounded_and_forgets_when_told() -> None:
    asked = Asked()
    memory = Memory(asked.clock)
    for number in range(REMEMBERED + 10):
        await memory.ask(str(number), asked)
    assert len(memory) == REMEMBERED
    memory.forget()
    assert len(memory) == 0


def test_nothing_is_the_same_as_nothing() -> None:
    assert same("a", "a")
    assert not same("", "")
    assert not same("a", "")
    assert not same("\ud800", "a")


@pytest.mark.parametrize(
    ("client", "here"),
    [(("127.0.0.1", 1), True), (("::1", 1), True), (("::ffff:127.0.0.1", 1), True), (None, True),
     (("192.0.2.1", 1), False), (("::ffff:192.0.2.1", 1), False), (("elsewhere", 1), False), (("", 0), False)],
)  # fmt: skip
def test_this_machine(client: tuple[str, int] | None, here: bool) -> None:
    assert is_loopback(client) is here

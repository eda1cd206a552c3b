"""The promises can be broken: for each, a plug-in that breaks just that one, and the promise says so.

Never pretends: the plug-ins are real modules, and the servers that they are led to are real too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType

import pytest

from quell.ports import Connection, Params
from quell.testing import Broken, Promise, Scene, Stage, promises

GOOD = '''
"""Asks a queue how long it is.

    - id: lag
      type: good
      config: {connection: there, max_items: 3}
      interpret: {healthy: length < 3}

Never does: take a message.
"""
import asyncio
from quell import ports
from quell.errors import Permanent, Transient
from quell.ports import Connects, Probe, Reading
from typing import Annotated

FACTS = {"length": "number"}


class Params(ports.Params):
    connection: Annotated[str, Connects(("queue",))] = "there"
    max_items: int = 3


async def run(params: Params, probe: Probe) -> Reading:
    there = probe.connection(params.connection, "queue")
    host, port = there.url.rsplit(":", 1)
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        raise Transient(f"{there.name}: connection refused", "refused") from None
    try:
        writer.write(there.password.encode() + b"\\n")
        answer = await reader.read(100)
        if not answer.isdigit():
            raise Permanent(f"{there.name}: not a number", "invalid")
        return Reading({"length": int(answer)})
    finally:
        writer.close()
'''


def play(scene: Scene) -> Stage:
    return Stage({}, [Connection("there", "queue", scene.address, password=scene.canary)])


def made(*changes: tuple[str, str]) -> list[Promise]:
    """The promises of the good plug-in with these changes to its text."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    module = ModuleType("good")
    exec(compile(text.lstrip(), "good.py", "exec", dont_inherit=True), module.__dict__)
    sys.modules["good"] = module  # Pydantic looks a model's module up by its name
    return promises("checks", module, play=play)


def broken(asked: Iterable[Promise]) -> set[str]:
    """The texts of those that are not kept."""
    found = set()
    for promise in asked:
        try:
            promise.keep()
        except Broken:
            found.add(promise.text)
    return found


def named(text: str, among: list[Promise]) -> list[Promise]:
    """That promise; the others are not asked, since they wait for servers that never answer."""
    return [one for one in among if one.text == text]


def test_a_good_one_keeps_them_all() -> None:
    assert broken(made()) == set()


LEAVES_A_TASK = (
    "        answer = await reader.read(100)",
    "        probe.http.kept = asyncio.ensure_future(asyncio.sleep(60))\n        answer = await reader.read(100)",
)


@pytest.mark.parametrize(
    ("promise", "changes"),
    [
        ("says what it does and never does", [("Never does:", "Does not:")]),
        ("parameters are frozen and strict", [("    connection: Annot", '    model_config = {"extra": "ignore"}\n    connection: Annot')]),
        ("parameters are frozen and strict", [("    connection: Annot", '    model_config = {"frozen": False}\n    connection: Annot')]),
        ("keys are snake_case or camelCase", [("    connection: Annot", '    model_config = {"alias_generator": None}\n    connection: Annot')]),
        (
            "strange values are told, not tripped over",
            [("max_items: int = 3", "max_items: __import__('typing').Annotated[int, __import__('pydantic').BeforeValidator(lambda v: v + 1)] = 3")],
        ),
        ("the example is right", [("max_items: 3}", "max_item: 3}")]),
        ("the example is right", [("healthy: length < 3", "healthy: lenght < 3")]),
        ("the example is right", [("healthy: length < 3", "healthy: length < 5m")]),
        ("facts are typed, whatever is written", [('"length": "number"', '"length": "numeral"')]),
        (
            "facts are typed, whatever is written",
            [('FACTS = {"length": "number"}', 'def facts(config):\n    return {"length": "number"} if config["max_items"] else {}')],
        ),
        ("lag and hint never raise", [("FACTS =", 'def lag(config, scrape_s):\n    return float(config.get("max_items", 1))\n\n\nFACTS =')]),
        ("shell parameters exist", [("FACTS =", 'SHELL = ("command",)\nFACTS =')]),
        ("commands are told to the guardrails", [("FACTS =", 'SHELL = ("command",)\nFACTS =')]),
        ("commands are told to the guardrails", [("FACTS =", 'def commands_of(params):\n    return [["ls"]]\n\n\nFACTS =')]),
        ("commands are told to the guardrails", [("FACTS =", 'def commands_of(params):\n    return [ports.Command(("ls",), line="ls")]\n\n\nFACTS =')]),
        ("commands are told to the guardrails", [("FACTS =", "def commands_of(params):\n    return params.command\n\n\nFACTS =")]),
        ("run: a refused connection is told", [('"refused") from None', '"denied") from None')]),
        ("run: a refused connection is told", [("except ConnectionRefusedError:", "except TimeoutError:")]),
        ("run: silence is a timeout", [LEAVES_A_TASK]),
        ("run: silence is a timeout", [("finally:\n        writer.close()", "finally:\n        KEPT.append(writer)"), ("FACTS =", "KEPT = []\nFACTS =")]),
        ("run: secrets stay secret", [('not a number"', 'not a number: {answer}"')]),
        ("run: secrets stay secret", [("    host, port =", '    __import__("logging").getLogger("good").warning("asking %s", there.password)\n    host, port =')]),
        ("its connection is declared", [('Annotated[str, Connects(("queue",))]', "str")]),
        ("its connection is declared", [('Connects(("queue",))', 'Connects(("redis",))')]),
        ("run: an unknown connection is missing", [('probe.connection(params.connection, "queue")', 'ports.Connection("x", "queue", "127.0.0.1:1")')]),
    ],
)  # fmt: skip
def test_a_broken_promise_is_seen(promise: str, changes: list[tuple[str, str]]) -> None:
    assert broken(named(promise, made(*changes))) == {promise}


def test_what_the_registry_would_not_take_has_no_promises() -> None:
    with pytest.raises(Broken, match="run"):
        made(("async def run(", "async def walk("))


SCHEDULE = '''
"""Whoever a board names.

    schedules: {shop: {type: board, connection: there}}

Never does: write on it.
"""
import asyncio
from typing import Annotated
from quell import ports
from quell.errors import Permanent, Transient
from quell.ports import Connects, OnCall

CONNECTIONS = ("board",)
PATHS = ()


class Params(ports.Params):
    connection: Annotated[str, Connects(CONNECTIONS)] = "there"


async def on_call(params, probe, at):
    there = probe.connection(params.connection, *CONNECTIONS)
    host, port = there.url.rsplit(":", 1)
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        raise Transient(f"{there.name}: connection refused", "refused") from None
    try:
        writer.write(f"GET /?key={there.password} HTTP/1.1\\r\\n\\r\\n".encode())
        answer = await reader.read(1000)
        if not answer.startswith(b"on call: "):
            raise Permanent(f"{there.name}: not a board", "invalid")
        return (OnCall(answer.decode()),)
    finally:
        writer.close()
'''


def made_schedule(*changes: tuple[str, str]) -> list[Promise]:
    """The promises of the good schedule with these changes to its text."""
    text = SCHEDULE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    module = ModuleType("board")
    exec(compile(text.lstrip(), "board.py", "exec", dont_inherit=True), module.__dict__)
    sys.modules["board"] = module

    def lead(scene: Scene) -> Stage:
        return Stage({}, [Connection("there", "board", scene.address, password=scene.canary)])

    return promises("schedules", module, play=lead)


def test_a_good_schedule_keeps_them_all() -> None:
    assert broken(made_schedule()) == set()


@pytest.mark.parametrize(
    ("promise", "changes"),
    [
        ("the example is right", [("connection: there}}", "conection: there}}")]),
        ("the example is right", [("    schedules: {shop", "    rotas: {shop")]),
        ("its socket is filled", [("PATHS = ()", 'PATHS = ("file",)')]),
        ("its socket is filled", [('("board",)', '("board", "")')]),
        ("its socket is filled", [("params, probe, at)", "params, probe, at, more=0)")]),
        ("its connection is declared", [("Annotated[str, Connects(CONNECTIONS)]", "str")]),
        ("on_call: a refused connection is told", [('raise Transient(f"{there.name}: connection refused", "refused") from None', "return ()")]),
        ("on_call: silence is a timeout", [("        answer = await", "        return ()\n        answer = await")]),
        ("on_call: secrets stay secret", [('not a board"', 'not a board: {answer}"')]),
        ("on_call: nonsense is not nobody", [('raise Permanent(f"{there.name}: not a board", "invalid")', "return ()")]),
        ("on_call: nonsense is not nobody", [('raise Permanent(f"{there.name}: not a board", "invalid")', "return (OnCall('?'),) if b'500' in answer else ()")]),
        ("on_call: an unknown connection is missing", [("probe.connection(params.connection, *CONNECTIONS)", 'ports.Connection("x", "board", "127.0.0.1:1")')]),
    ],
)  # fmt: skip
def test_a_schedule_that_breaks_a_promise_is_seen(promise: str, changes: list[tuple[str, str]]) -> None:
    assert broken(named(promise, made_schedule(*changes))) == {promise}


SOURCE = """
def verify(headers, body, params):
    return None


def parse(body, headers, params, received_at):
    return [], []


def delivery(headers, body):
    return "one"


def ignored(body):
    return None
"""


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ('return "one"', "return body.decode() or None", "what it is raises UnicodeDecodeError"),
        ('return "one"', "return 5", "is called"),
        ('return "one"', 'return ""', "is called"),
        ("def ignored(body):\n    return None", 'def ignored(body):\n    return body["event"]', "raises TypeError"),
    ],
)
def test_what_a_source_calls_a_delivery_is_a_text_or_nothing(good: str, bad: str, told: str) -> None:
    def keep(text: str) -> None:
        module = ModuleType("good")
        module.__dict__["Params"] = Params
        exec(compile(text, "good.py", "exec", dont_inherit=True), module.__dict__)
        (promise,) = [one for one in promises("sources", module) if one.text.startswith("a bad body")]
        promise.keep()

    keep(SOURCE)
    assert good in SOURCE
    with pytest.raises(Broken, match=told):
        keep(SOURCE.replace(good, bad))


PROVES = '''
"""Reads what a stranger may have written.

    sources: {signed: {topics: [a]}}

Never does: believe it.
"""
import asyncio
from quell import ports
from quell.errors import InvalidInput, Permanent, Problem, Transient


class Params(ports.Params):
    topics: list[str]


def verify(headers, body, params):
    return None if body == b"{}" and params.topics == ["a"] else "no message"


async def prove(headers, body, params, probe):
    raise Transient("nobody can tell", "refused")


async def answer(headers, body, params, probe):
    return None


def parse(body, headers, params, received_at):
    raise InvalidInput([Problem("no message")])
'''
NOT_BELIEVED = "what nobody has signed is not believed"


@pytest.mark.parametrize(
    ("promise", "changes"),
    [
        (None, []),
        (None, [('raise Transient("nobody can tell", "refused")', 'return "not signed"')]),
        (NOT_BELIEVED, [('raise Transient("nobody can tell", "refused")', "return None")]),
        (NOT_BELIEVED, [('raise Transient("nobody can tell", "refused")', 'return ""')]),
        (NOT_BELIEVED, [('raise Transient("nobody can tell", "refused")', 'raise KeyError("Signature")')]),
        ("prove and answer are asked asynchronously", [("async def answer", "def answer")]),
        ("prove and answer are asked asynchronously", [("async def answer(headers, body, params, probe)", "async def answer(headers, body, params)")]),
        ("the example is right", [("topics: [a]", "topic: [a]")]),
        (None, [("topics: [a]", "topics: [a], expect: every 5m")]),
        ("the example is right", [("topics: [a]", "topics: [a], expect: 5m")]),
    ],
)  # fmt: skip
def test_a_source_that_believes_too_much_is_seen(promise: str | None, changes: list[tuple[str, str]]) -> None:
    text = PROVES
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    module = ModuleType("signed")
    exec(compile(text.lstrip(), "signed.py", "exec", dont_inherit=True), module.__dict__)
    sys.modules["signed"] = module
    found = set()
    for one in promises("sources", module):
        try:
            one.keep()
        except Broken:
            found.add(one.text)
    assert found == set() if promise is None else promise in found

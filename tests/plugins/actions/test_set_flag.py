"""Flags in a file, in a real Redis, behind a real HTTP server."""

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.actions import _flags, set_flag
from quell.plugins.actions.set_flag import Params
from quell.ports import Connection
from tests.fakes.serving import FakeServer, Fault, Reply, Request
from tests.plugins.world import probe_over
from tests.servers.redis import Redis

pytestmark = pytest.mark.anyio


class FlagService(FakeServer):
    """GET, PUT and DELETE of `/flags/<name>` with `{"value": …}`."""

    def __init__(self) -> None:
        super().__init__()
        self.flags: dict[str, Any] = {}

    def answer(self, request: Request) -> Reply:
        name = request.path.removeprefix("/flags/")
        if request.method == "PUT":
            self.flags[name] = request.json()["value"]
        elif request.method == "DELETE":
            self.flags.pop(name, None)
        return Reply.of({"value": self.flags[name]}) if name in self.flags else Reply.text("no such flag", 404)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text('{"payments": {"breaker": "closed", "limit": 5}, "other": [1]}')
    path.chmod(0o640)
    return path


async def test_a_flag_in_a_file_there_and_back(file: Path) -> None:
    params = Params(flag="payments.breaker", value="open", file=str(file))
    before = json.loads(file.read_text())
    async with probe_over() as probe:
        preview = await set_flag.dry_run(params, probe)
        assert json.loads(file.read_text()) == before
        assert (await set_flag.observe(params, probe)).facts == {"set": False, "value": "closed"}
        effect = await set_flag.execute(params, probe)
        changed = json.loads(file.read_text())
        assert changed == {"payments": {"breaker": "open", "limit": 5}, "other": [1]}
        assert (await set_flag.observe(params, probe)).facts == {"set": True, "value": "open"}
        again = await set_flag.execute(params, probe)
        await set_flag.undo(params, effect, probe)
        assert not (await set_flag.undo(params, effect, probe)).changed
    assert json.loads(file.read_text()) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (preview.before, preview.after, preview.magnitude) == ('"closed"', '"open"', 1)
    assert preview.undo == 'set payments.breaker back to "closed"'
    assert (effect.changed, again.changed) == (True, False)
    history = [json.loads(line) for line in Path(f"{file}.history").read_text().splitlines()]
    assert [(line["before"], line["after"]) for line in history] == [('"closed"', '"open"'), ('"open"', '"closed"')]
    assert history[0]["key"] == "run/node/1/target"


async def test_a_flag_that_was_not_there_is_gone_after_the_undo(file: Path) -> None:
    params = Params(flag="new.flag", value=True, file=str(file))
    async with probe_over() as probe:
        effect = await set_flag.execute(params, probe)
        assert json.loads(file.read_text())["new"] == {"flag": True}
        await set_flag.undo(params, effect, probe)
    assert json.loads(file.read_text())["new"] == {}


async def test_true_is_not_one(file: Path) -> None:
    async with probe_over() as probe:
        await set_flag.execute(Params(flag="x", value=1, file=str(file)), probe)
        assert not (await set_flag.observe(Params(flag="x", value=True, file=str(file)), probe)).facts["set"]


async def test_the_undo_leaves_alone_what_somebody_else_set(file: Path) -> None:
    params = Params(flag="payments.breaker", value="open", file=str(file))
    async with probe_over() as probe:
        effect = await set_flag.execute(params, probe)
        await set_flag.execute(Params(flag="payments.breaker", value="half-open", file=str(file)), probe)
        with pytest.raises(Permanent, match="somebody changed it since") as caught:
            await set_flag.undo(params, effect, probe)
    assert caught.value.error_class == "refused"
    assert json.loads(file.read_text())["payments"]["breaker"] == "half-open"


async def test_a_reader_never_sees_half_a_file(file: Path) -> None:
    stop, seen = threading.Event(), set[str]()

    def look() -> None:
        while not stop.is_set():
            seen.add(json.loads(file.read_text())["payments"]["breaker"])

    reader = threading.Thread(target=look)
    reader.start()
    try:
        async with probe_over() as probe:
            for number in range(50):
                await set_flag.execute(Params(flag="payments.breaker", value=f"v{number}", file=str(file)), probe)
    finally:
        stop.set()
        reader.join()
    assert seen <= {"closed", *(f"v{number}" for number in range(50))}
    assert os.listdir(file.parent).count("flags.json") == 1
    assert not [name for name in os.listdir(file.parent) if name.startswith(".flags")]


async def test_a_lock_that_another_holds_may_pass(file: Path) -> None:
    async with probe_over() as probe:
        with _flags.locked(file), pytest.raises(Transient) as caught:
            await set_flag.execute(Params(flag="x", value=1, file=str(file)), probe)
    assert caught.value.error_class == "locked"
    assert "x" not in json.loads(file.read_text())


@pytest.mark.parametrize(("text", "error_class"), [(None, "missing"), ("[1]", "invalid"), ("{", "invalid")])
async def test_a_file_that_is_no_flag_file_is_left_as_it_is(file: Path, text: str | None, error_class: str) -> None:
    file.unlink() if text is None else file.write_text(text)
    async with probe_over() as probe:
        with pytest.raises(Permanent) as caught:
            await set_flag.execute(Params(flag="x", value=1, file=str(file)), probe)
    assert caught.value.error_class == error_class
    assert (file.read_text() if file.exists() else None) == text


async def test_a_path_through_a_value_is_refused(file: Path) -> None:
    async with probe_over() as probe:
        with pytest.raises(Permanent, match="leads through a value"):
            await set_flag.execute(Params(flag="payments.limit.deep", value=1, file=str(file)), probe)


@pytest.mark.parametrize("hash_key", [None, "payment:flags"])
async def test_a_flag_in_redis_there_and_back(redis_server: Redis, hash_key: str | None) -> None:
    here = Connection(name="flags", type="redis", url=redis_server.url())
    params = Params(flag="breaker", value=True, connection="flags", hash=hash_key)
    with redis_server.client() as client:

        def now() -> Any:
            return client.hget(hash_key, "breaker") if hash_key else client.get("breaker")

        async with probe_over(here) as probe:
            assert (await set_flag.dry_run(params, probe)).before == "absent"
            effect = await set_flag.execute(params, probe)
            assert now() == "true"
            assert (await set_flag.observe(params, probe)).facts["set"]
            await set_flag.undo(params, effect, probe)
            assert now() is None
            await set_flag.execute(Params(flag="breaker", value="half", connection="flags", hash=hash_key), probe)
            second = await set_flag.execute(params, probe)
            await set_flag.undo(params, second, probe)
            assert now() == "half"
            with pytest.raises(Permanent, match="somebody changed it since"):
                await set_flag.undo(
                    params, effect.model_copy(update={"undo": {"present": True, "before": "old"}}), probe
                )
            assert now() == "half"


async def test_a_keys_time_to_live_is_kept(redis_server: Redis) -> None:
    here = Connection(name="flags", type="redis", url=redis_server.url())
    with redis_server.client() as client:
        client.set("breaker", "closed", ex=500)
        async with probe_over(here) as probe:
            await set_flag.execute(Params(flag="breaker", value="open", connection="flags"), probe)
        assert 0 < int(client.ttl("breaker")) <= 500  # type: ignore[arg-type]


async def test_a_flag_behind_an_address_there_and_back() -> None:
    with FlagService() as fake:
        here = Connection(name="flags", type="http", url=f"{fake.url}/flags/", headers={"Authorization": "Bearer t0k"})
        params = Params(flag="pay/breaker", value="open", connection="flags")
        async with probe_over(here) as probe:
            effect = await set_flag.execute(params, probe)
            assert fake.flags == {"pay/breaker": "open"}
            assert (await set_flag.observe(params, probe)).facts["set"]
            await set_flag.undo(params, effect, probe)
            assert fake.flags == {}
            put = next(request for request in fake.requests if request.method == "PUT")
            assert put.headers["idempotency-key"] == "run/node/1/target"
            assert put.headers["authorization"] == "Bearer t0k"
            fake.inject(Fault.refuse(503))
            with pytest.raises(Transient):
                await set_flag.execute(params, probe)
            fake.inject(Fault.refuse(403))
            with pytest.raises(Permanent) as caught:
                await set_flag.execute(params, probe)
    assert caught.value.error_class == "denied"


@pytest.mark.parametrize(
    "written",
    [
        {"flag": "x"},
        {"flag": "x", "file": "/a", "connection": "b"},
        {"flag": "x", "file": "flags.json"},
        {"flag": "x", "file": "/a/../etc/x"},
        {"flag": "x", "file": "/a", "hash": "h"},
        {"flag": "", "file": "/a"},
    ],
)
def test_just_one_safe_place(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate(written)

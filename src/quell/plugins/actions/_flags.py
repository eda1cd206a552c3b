"""Where flags live: a JSON file, Redis, an HTTP address; each read and swapped in one step as far as it can.

Never does: decide whether to change a flag, write a file in place.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import orjson

from quell.errors import Permanent, Transient
from quell.plugins.actions import _http
from quell.ports import Connection, Probe

LOCK_WITHIN_S = 10.0
_MOST_BYTES = 1_048_576


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""The flag is not there at all; not the same as null."""


def shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    text = orjson.dumps(value).decode()
    return text if len(text) <= 200 else text[:199] + "…"


class Store(Protocol):
    """One flag in one place. ``swap`` gives the value of before; with ``only_if`` it changes just that value."""

    place: str

    async def read(self) -> Any: ...

    async def swap(self, value: Any, *, only_if: Any = ABSENT) -> Any: ...

    def same(self, one: Any, other: Any) -> bool: ...


def _same_json(one: Any, other: Any) -> bool:
    """Equal as JSON: ``true`` is not 1, and absent is only absent."""
    if one is ABSENT or other is ABSENT:
        return one is other
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


class FileStore:
    """A JSON object in a file; the flag is a dotted path in it."""

    def __init__(self, path: str, flag: str, key: str, now: Callable[[], datetime]) -> None:
        self.place = path
        self._path, self._parts, self._key, self._now = Path(path), flag.split("."), key, now
        self.same = _same_json

    async def read(self) -> Any:
        return self._get(await asyncio.to_thread(self._load))

    async def swap(self, value: Any, *, only_if: Any = ABSENT) -> Any:
        # The thread runs to its end even when this call is cancelled: the file is then either old or new.
        return await asyncio.to_thread(self._swap, value, only_if)

    def _swap(self, value: Any, only_if: Any) -> Any:
        with self._locked():
            document = self._load()
            before = self._get(document)
            if _same_json(before, value) or (only_if is not ABSENT and not _same_json(before, only_if)):
                return before
            self._put(document, value)
            self._note(before, value)
            self._replace(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        return before

    def _load(self) -> dict[str, Any]:
        try:
            text = self._path.read_bytes()
        except OSError as error:
            kind = "missing" if isinstance(error, FileNotFoundError) else "denied"
            raise Permanent(f"{self.place}: {error.strerror}", kind) from None
        if len(text) > _MOST_BYTES:
            raise Permanent(f"{self.place}: more than {_MOST_BYTES} bytes", "too_large")
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Permanent(f"{self.place}: not JSON: {error}", "invalid") from None
        if not isinstance(document, dict):
            raise Permanent(f"{self.place}: not a JSON object", "invalid")
        return document

    def _get(self, document: dict[str, Any]) -> Any:
        node: Any = document
        for part in self._parts:
            if not isinstance(node, dict) or part not in node:
                return ABSENT
            node = node[part]
        return node

    def _put(self, document: dict[str, Any], value: Any) -> None:
        node = document
        for part in self._parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise Permanent(f"{self.place}: {'.'.join(self._parts)} leads through a value", "invalid")
        if value is ABSENT:
            node.pop(self._parts[-1], None)
        else:
            node[self._parts[-1]] = value

    def _note(self, before: Any, after: Any) -> None:
        """Before the file itself: a history with one line too many misleads less than one with a line too few."""
        line = {
            "at": self._now().isoformat(), "flag": ".".join(self._parts), "key": self._key,
            "before": shown(before), "after": shown(after),
        }  # fmt: skip
        try:
            with Path(self.place + ".history").open("ab") as history:
                history.write(orjson.dumps(line) + b"\n")
        except OSError as error:
            raise Permanent(f"{self.place}.history: {error.strerror}", "denied") from None

    def _replace(self, text: bytes) -> None:
        replace_file(self._path, text)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self._path):
            yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """An exclusive lock on ``<path>.lock``. Raises ``Transient`` (locked) when another keeps it too long."""
    try:
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Permanent(f"{path}.lock: {error.strerror}", "denied") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Transient(f"{path}: another process is changing it", "locked", retry_after=1.0) from None
        yield
    finally:
        os.close(handle)


def replace_file(path: Path, text: bytes) -> None:
    """The whole file in one step, its mode and owner kept, on the disk before it counts."""
    try:
        about = path.stat()
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Permanent(f"{path}: {error.strerror}", "denied") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), about.st_mode & 0o7777)
            with suppress(PermissionError):
                os.fchown(file.fileno(), about.st_uid, about.st_gid)
            os.fsync(file.fileno())
        Path(name).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise Permanent(f"{path}: {error.strerror}", "failed") from None


# KEYS: the key. ARGV: field or '', '1' and the value (or '0' to remove), '1' and the expected value (or '0').
_SWAP = """
local field, before = ARGV[1], nil
if field ~= '' then before = redis.call('HGET', KEYS[1], field) else before = redis.call('GET', KEYS[1]) end
if ARGV[4] == '1' and before ~= ARGV[5] then return before end
if ARGV[2] == '1' then
  if field ~= '' then redis.call('HSET', KEYS[1], field, ARGV[3])
  else redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL') end
else
  if field ~= '' then redis.call('HDEL', KEYS[1], field) else redis.call('DEL', KEYS[1]) end
end
return before
"""


class RedisStore:
    """A key, or a field of a hash. Redis knows only text: ``true`` is written and compared as ``true``."""

    def __init__(self, connection: Connection, flag: str, hash_key: str | None) -> None:
        self.place = f"{connection.name}/{hash_key}" if hash_key else connection.name
        self._connection, self._flag, self._hash = connection, flag, hash_key

    def _client(self) -> AbstractAsyncContextManager[Any]:
        # Loaded when the first is asked: whoever keeps flags in files, or only reads a runbook, needs none.
        redis = importlib.import_module(f"{__package__}._redis")
        opened: AbstractAsyncContextManager[Any] = redis.client(self._connection)
        return opened

    async def read(self) -> Any:
        async with self._client() as client:
            found = await (client.hget(self._hash, self._flag) if self._hash else client.get(self._flag))
        return _text(found)

    async def swap(self, value: Any, *, only_if: Any = ABSENT) -> Any:
        key, field = (self._hash, self._flag) if self._hash else (self._flag, "")
        given = [field, *_argument(value), *_argument(only_if)]
        async with self._client() as client:
            return _text(await client.eval(_SWAP, 1, key, *given))

    def same(self, one: Any, other: Any) -> bool:
        if one is ABSENT or other is ABSENT:
            return one is other
        return _spelled(one) == _spelled(other)


def _text(found: bytes | None) -> Any:
    return ABSENT if found is None else found.decode("utf-8", "replace")


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _argument(value: Any) -> tuple[str, str]:
    return ("0", "") if value is ABSENT else ("1", _spelled(value))


class HttpStore:
    """``GET`` and ``PUT`` of ``{"value": …}`` at the connection's address with the flag behind it."""

    def __init__(self, connection: Connection, flag: str, probe: Probe) -> None:
        self.place = connection.name
        self._url = f"{connection.url.rstrip('/')}/{quote(flag, safe='')}"
        self._connection, self._probe = connection, probe
        self.same = _same_json

    async def read(self) -> Any:
        answer = await self._ask("GET")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return ABSENT
        try:
            return orjson.loads(answer.content)["value"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise Permanent(f"{self.place}: the answer is not an object with a value", "invalid") from None

    async def swap(self, value: Any, *, only_if: Any = ABSENT) -> Any:
        before = await self.read()
        if _same_json(before, value) or (only_if is not ABSENT and not _same_json(before, only_if)):
            return before
        if value is ABSENT:
            await self._ask("DELETE")
        else:
            await self._ask("PUT", orjson.dumps({"value": value}))
        return before

    async def _ask(self, method: str, body: bytes | None = None) -> httpx.Response:
        headers = {"idempotency-key": self._probe.key}
        answer = await _http.ask(self._probe, self._connection, method, self._url, body, headers)
        if answer.status_code == httpx.codes.NOT_FOUND and method != "PUT":
            return answer
        return _http.check(self._connection, answer, self._probe.now())

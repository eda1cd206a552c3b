"""What every test has: real servers on loopback, hypothesis without stopwatch, no proxy in between.

Never pretends: a test whose program is not installed is skipped with one line that names the Debian package.
"""

import contextlib
import gc
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from quell.redact import KNOWN
from quell.store.database import Database
from quell.store.migrate import migrate
from tests.fakes.tls import TestAuthority
from tests.servers.chromium import Chromium
from tests.servers.mariadb import MariaDB
from tests.servers.ports import free_port as choose_port
from tests.servers.postgres import Postgres, PostgresPair
from tests.servers.process import AnyServer, MissingProgramError, RunServer
from tests.servers.redis import Redis

THAW_EVERY = 1000
_TESTS = itertools.count(1)

# A deadline measures how busy the machine is, not whether the code is right.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_configure() -> None:
    # Run in the background of a script, we would ignore it, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The keys of the servers that tests start are not a developer's own.
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="quell-tests-")
    # Whom the world trusts nobody here is; reading that list took 30 ms for each client, and there are thousands.
    authority = Path(os.environ["XDG_STATE_HOME"], "nobody")
    authority.mkdir()
    os.environ["SSL_CERT_FILE"] = str(TestAuthority(authority).root_file)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    yield from _skip_when_missing()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    yield from _skip_when_missing()


def _skip_when_missing() -> Generator[None]:
    try:
        yield
    except MissingProgramError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _secrets_are_of_one_test() -> Iterator[None]:
    """What one test reads as a secret is an ordinary word in the next."""
    yield
    KNOWN.forget()


@pytest.fixture(autouse=True)
def _what_is_frozen_thaws() -> Iterator[None]:
    """Each App freezes what is there as if it lived as long as the process: here hundreds would keep their garbage."""
    yield
    if next(_TESTS) % THAW_EVERY == 0:
        gc.unfreeze()


@pytest.fixture
def free_port() -> int:
    """A loopback port nothing listens on; for a second one call `tests.servers.ports.free_port`."""
    return choose_port()


@pytest.fixture
def run_server() -> Iterator[RunServer]:
    """Start a server of `tests.servers` for this test: `prometheus = run_server(Prometheus([...]))`."""
    with contextlib.ExitStack() as stack:

        def run(server: AnyServer, /) -> AnyServer:
            stack.enter_context(server)
            return server

        yield run


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of this process. Do not change its settings or end it."""
    with Postgres(settings={"max_prepared_transactions": 10}) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The address of a fresh, empty PostgreSQL database."""
    with postgres_server.fresh_database() as name:
        yield postgres_server.url(name)


@pytest.fixture
def postgres_pair() -> Iterator[PostgresPair]:
    """A primary and a caught-up streaming replica of this test's own."""
    with PostgresPair() as pair:
        yield pair


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """One MariaDB for all tests of this process. Do not change its settings or end it."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb_server: MariaDB) -> Iterator[str]:
    """The name of a fresh, empty MariaDB database on `mariadb_server`."""
    with mariadb_server.fresh_database() as name:
        yield name


@pytest.fixture(scope="session")
def _redis_of_this_process() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture
def redis_server(_redis_of_this_process: Redis) -> Redis:
    """A Redis that is empty when the test begins. Do not change its settings or end it."""
    _redis_of_this_process.flush()
    return _redis_of_this_process


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A browser: `with chromium.page(390, 844, dark=True) as page: page.open(url)`."""
    with Chromium() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database of each kind: SQLite in the test's folder, or a fresh one of a real PostgreSQL."""
    url = str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database.engine)
    yield database
    database.close()

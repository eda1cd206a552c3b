"""Listening as a process does: its address, its end while streams are open, an address that is taken."""

import os
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from quell.errors import Permanent, Unavailable
from quell.web.run import address_of, bind
from tests.servers.process import wait_until
from tests.web.house import House
from tests.web.served import Served


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "quell.yaml"
    path.write_text(f"database: {tmp_path}/quell.db\n")
    return path


def test_sigterm_ends_it_although_streams_are_open(settings: Path) -> None:
    with Served(settings) as served, httpx.Client(base_url=served.url, timeout=30) as http:
        with http.stream("GET", "/live") as one, http.stream("GET", "/live") as two:
            lines = one.iter_lines()
            next(lines)
            next(two.iter_lines())
            begun = time.monotonic()
            os.kill(served.pid, signal.SIGTERM)
            for _ in lines:
                pass
            wait_until(lambda: not served.running, "the end", 10)
            assert time.monotonic() - begun < 5
        assert served.exit_code == 0


def test_one_line_tells_the_address_that_was_picked(settings: Path) -> None:
    with Served(settings) as served:
        assert served.log().splitlines().count(served.url) == 1
        assert int(served.url.rpartition(":")[2]) > 0


def test_a_taken_address_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
            bind("127.0.0.1", port)


def test_addresses_of_version_6_have_brackets() -> None:
    with bind("::1", 0) as bound:
        assert address_of(bound).startswith("http://[::1]:")


def test_a_token_that_leads_nowhere_is_told_at_the_start(tmp_path: Path) -> None:
    os.environ.pop("QUELL_TEST_GONE", None)
    more = "server: {token: 'env:QUELL_TEST_GONE'}"
    with pytest.raises(Permanent, match="QUELL_TEST_GONE"), House(tmp_path, more=more):
        pass

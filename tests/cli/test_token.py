"""`quell token`: made, listed, revoked beside a server; what a role may from the command line; the key of one's own."""

from __future__ import annotations

import os
import pty
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from quell import local
from tests.cli.command import (
    Served,
    read_until,
    run_quell,
    served,
    start_quell,
    times_done,
    told,
    write_runbook,
)
from tests.servers.process import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tokens")
    write_runbook(folder, step={"requires_approval": True})
    with served(folder, "--runbooks", "fix.json") as running:
        yield running


def make(server: Served, *words: str) -> str:
    """The text alone is on stdout."""
    done = run_quell(server.folder, "token", "create", *words, "--db", "quell.db")
    assert done.returncode == 0, done.stderr
    (text,) = done.stdout.splitlines()
    assert text not in done.stderr
    return text


def test_made_listed_used_and_revoked(server: Served) -> None:
    text = make(server, "cleo", "--role", "viewer", "--tenant", "default", "--for", "30d")
    assert server.ask("incidents", "list", QUELL_TOKEN=text).returncode == 0
    (one,) = [one for one in tokens(server) if one["name"] == "cleo"]
    assert (one["role"], one["tenant"], one["state"], one["created_by"]) == ("viewer", "default", "valid", "ann")
    wait_until(lambda: any(one["name"] == "cleo" and one["last_used"] for one in tokens(server)), "its last use")
    listed = run_quell(server.folder, "token", "list", "--db", "quell.db").stdout
    assert "cleo" in listed
    assert text.rpartition("_")[2] not in listed
    gone = run_quell(server.folder, "token", "revoke", "cleo", "--reason", "lost", "--db", "quell.db")
    assert gone.stdout == f"Token {one['id']} of cleo is revoked.\n"
    wait_until(lambda: server.ask("incidents", "list", QUELL_TOKEN=text).returncode == 1, "the end of it", 10)
    assert "set QUELL_TOKEN" in server.ask("incidents", "list", QUELL_TOKEN=text).stderr
    again = run_quell(server.folder, "token", "revoke", "cleo", "--db", "quell.db")
    assert again.returncode == 1
    assert "was revoked by ann" in again.stderr


def tokens(server: Served) -> list[dict[str, str]]:
    found: list[dict[str, str]] = told(run_quell(server.folder, "token", "list", "--json", "--db", "quell.db"))[
        "tokens"
    ]
    return found


def test_two_people_with_tokens_of_their_own(server: Served) -> None:
    """Neither a name on the command line nor one in the environment is another's."""
    viewer, responder = make(server, "vic", "--role", "viewer"), make(server, "rob", "--role", "responder")
    approver = make(server, "pat", "--role", "approver")
    refused = server.ask("trigger", "fix", QUELL_TOKEN=viewer)
    assert refused.returncode == 1
    assert "needs the role responder; vic is viewer" in refused.stderr
    incident = told(server.ask("trigger", "fix", "--json", QUELL_TOKEN=responder))["execution"]["incidentId"]
    server.wait_for(incident, "waiting_approval")
    early = server.ask("approve", incident, QUELL_TOKEN=responder)
    assert early.returncode == 1
    assert "needs the role approver; rob is responder" in early.stderr
    assert times_done(server.folder) == 0
    stop = server.ask("pause", "--all", "--for", "1h", "--reason", "x", QUELL_TOKEN=approver)
    assert stop.returncode == 1
    assert "needs the role admin" in stop.stderr
    said = server.ask("approve", incident, "--by", "somebody else", QUELL_TOKEN=approver)
    assert said.stdout.startswith("Approved by pat;")
    server.wait_for(incident, "resolved")
    assert times_done(server.folder) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ann"], 2, "--role"),
        (["ann", "--role", "king"], 2, "king"),
        (["quell", "--role", "viewer"], 1, "somebody else"),
        (["ann", "--role", "viewer", "--for", "soon"], 1, "not a duration"),
        (["ann", "--role", "viewer", "--for", "10y"], 1, "not a duration"),
        (["ann", "--role", "viewer", "--for", "400d"], 1, "a token ends"),
        (["ann", "--role", "viewer", "--proxy"], 1, "speak for others"),
        (["ann", "--role", "admin", "--tenant", "acme"], 1, "whole installation"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    done = run_quell(tmp_path, "token", "create", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert '"id"' not in run_quell(tmp_path, "token", "list", "--json").stdout


def test_a_link_signs_a_browser_in_once(server: Served) -> None:
    link = server.ask("token", "link").stdout.strip()
    assert link.startswith(f"{server.address}/sign-in?token=")
    with httpx.Client(follow_redirects=True) as browser:
        assert browser.get(server.address, headers={"accept": "text/html"}).status_code == 401
        assert browser.get(link).status_code == 200
        assert browser.get(f"{server.address}/alerts").status_code == 200
    assert httpx.get(link).status_code == 401


def test_one_needs_no_token_on_ones_own_machine_and_others_do(server: Served, tmp_path: Path) -> None:
    assert server.ask("incidents", "list").returncode == 0
    key = local.path_for(server.address)
    assert key is not None
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    elsewhere = server.ask("incidents", "list", XDG_STATE_HOME=str(tmp_path))
    assert elsewhere.returncode == 1
    assert "set QUELL_TOKEN" in elsewhere.stderr
    named = run_quell(server.folder, "incidents", "list", "--server", f"http://localhost:{server.port}")
    assert named.returncode == 0, named.stderr


def test_the_key_goes_with_the_server_and_a_new_one_comes(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        path = local.path_for(server.address)
        assert path is not None
        first = path.read_text()
        server.kill()
        server.start()
        assert path.read_text() != first, "what was caught in between is of no use"
        old = {"authorization": f"Bearer {first.strip()}"}
        assert httpx.get(f"{server.address}/readyz", headers=old).status_code == 401
        server.stop()
        assert not path.exists()


def test_a_key_that_others_could_have_written_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = local.write("http://127.0.0.1:8470", "key")
    assert path is not None
    assert local.read("http://127.0.0.1:8470") == local.read("http://0.0.0.0:8470") == "key"
    assert local.read("http://127.0.0.1:8471") == local.read("http://[::1]:8470") == ""
    assert socket.gethostname()[:3] in path.name
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        assert local.read("http://127.0.0.1:8470") == "", oct(mode)
    path.chmod(0o600)
    other = path.rename(path.with_name("other"))
    path.symlink_to(other)
    assert local.read("http://127.0.0.1:8470") == ""
    path.unlink()
    os.mkfifo(path, 0o600)
    assert local.read("http://127.0.0.1:8470") == "", "it does not wait for a writer"
    assert local.path_for("http://192.0.2.7:8470") is local.path_for("http://quell.example") is None


def test_a_key_is_taken_away_by_whom_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = local.write("http://127.0.0.1:8470", "old")
    assert path is not None
    local.write("http://127.0.0.1:8470", "new")
    local.remove(path, "old")
    assert local.read("http://127.0.0.1:8470") == "new"
    local.remove(path, "new")
    assert not path.exists()
    assert [one.name for one in path.parent.iterdir()] == []


def test_insecure_asks_nobody(tmp_path: Path) -> None:
    with served(tmp_path, "--insecure") as server:
        assert httpx.get(f"{server.address}/readyz").status_code == 200
        path = local.path_for(server.address)
        assert path is not None
        assert not path.exists()


def test_the_link_is_shown_to_a_person_and_not_to_a_log(server: Served, tmp_path: Path) -> None:
    """What stands in a log is read by others."""
    leader, follower = pty.openpty()
    process = start_quell(tmp_path, "serve", "--port", "0", stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    try:
        shown = read_until(leader, b"quell token link").decode()
    finally:
        process.terminate()
        process.wait(20)
        os.close(leader)
    found = re.search(r"Sign in, once, within 15 minutes: http://127\.0\.0\.1:\d+/sign-in\?token=\w{43}\s", shown)
    assert found, shown
    log = (server.folder / "serve.log").read_text()
    assert '"quell token link"' in log
    assert "sign-in?token=" not in log


def test_a_command_without_a_server_needs_no_token_of_one(tmp_path: Path) -> None:
    write_runbook(tmp_path, state="0")
    (tmp_path / "quell.yaml").write_text("server: {token: 'env:NOT_THERE'}\n")
    done = run_quell(tmp_path, "run", "fix.json")
    assert done.returncode == 0, done.stderr

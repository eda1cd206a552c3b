"""`quell pause|resume|pauses`: the kill switch by hand, and what whoever asks meanwhile is told."""

from collections.abc import Iterator

import pytest

from tests.cli.command import Served, served, times_done, write_runbook


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("switches")
    write_runbook(folder)
    with served(folder, "--runbooks", "fix.json") as running:
        yield running


def test_paused_nothing_acts_until_resumed(server: Served) -> None:
    pulled = server.ask("pause", "--all", "--for", "2h", "--reason", "we move the network", "--by", "bob")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith("every action is paused until ")
    assert " by bob: we move the network" in pulled.stdout
    stopped = server.json("trigger", "fix")["execution"]["incidentId"]
    server.wait_for(stopped, "escalated")
    assert times_done(server.folder) == 0
    # Whoever asks for anything is told.
    asked = server.ask("incidents", "show", stopped)
    assert "quell: paused: all until " in asked.stderr
    assert "we move the network" in asked.stdout
    (one,) = server.json("pauses")["pauses"]
    assert (one["scope"], one["by"]) == ("all", "bob")
    listed = server.ask("pauses")
    assert "every action" in listed.stdout
    assert "1 pause on" in listed.stdout
    assert server.ask("resume", "--reason", "moved").stdout == "Resumed: every action.\n"
    assert "paused" not in server.ask("incidents", "show", stopped).stderr
    server.wait_for(server.json("trigger", "fix")["execution"]["incidentId"], "resolved")
    assert times_done(server.folder) == 1


def test_only_what_is_named(server: Served) -> None:
    pulled = server.json("pause", "--service", "shop", "--for", "30m", "--reason", "by hand")
    assert (pulled["scope"], pulled["name"], pulled["what"]) == ("service", "shop", "every action of service shop")
    assert server.ask("resume", pulled["id"]).stdout == "Resumed: every action of service shop.\n"
    assert server.ask("pauses").stdout == "Nothing is paused.\n"
    gone = server.ask("resume")
    assert gone.returncode == 1
    assert "pause" in gone.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--for", "2h", "--reason", "x"], 2, "say what"),
        (["--all", "--service", "shop", "--for", "2h", "--reason", "x"], 1, "--all, --service: one pause is for one"),
        (["--all", "--reason", "x"], 2, "--for"),
        (["--all", "--for", "2h"], 2, "--reason"),
        (["--all", "--for", "2 fortnights", "--reason", "x"], 1, "not a duration"),
        (["--all", "--for", "60d", "--reason", "x"], 1, "within 30 days"),
        (["--all", "--for", "1h", "--reason", " "], 1, "say why"),
        (["--service", "shpo", "--for", "1h", "--reason", "x"], 1, "did you mean 'shop'"),
        (["--action", "restart_servise", "--for", "1h", "--reason", "x"], 1, "did you mean 'restart_service'"),
    ],
)
def test_what_cannot_be_paused_is_said_and_pauses_nothing(
    server: Served, words: list[str], code: int, said: str
) -> None:
    done = server.ask("pause", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert server.json("pauses")["pauses"] == []


def test_what_was_repaired_too_often_asks_until_it_is_reset(server: Served) -> None:
    assert server.ask("reset", "shop", "--reason", "begin anew").returncode == 0
    before = times_done(server.folder)
    for _ in range(3):
        (server.folder / "state").write_text("1")
        server.wait_for(server.json("trigger", "fix")["execution"]["incidentId"], "resolved")
    (server.folder / "state").write_text("1")
    asked = server.json("trigger", "fix")["execution"]["incidentId"]
    server.wait_for(asked, "waiting_approval")
    assert "repaired 3 times within 1d" in server.ask("incidents", "show", asked).stdout
    listed = server.ask("breakers")
    assert [line.split() for line in listed.stdout.splitlines() if line.startswith("shop")] == [
        ["shop", "3", "3", "asks", "a", "person"]
    ]
    assert server.ask("approve", asked).returncode == 0
    server.wait_for(asked, "resolved")
    done = server.ask("reset", "shop", "--reason", "the leak is fixed")
    assert done.stdout == "shop is repaired by itself again; it is counted anew.\n"
    (server.folder / "state").write_text("1")
    server.wait_for(server.json("trigger", "fix")["execution"]["incidentId"], "resolved")
    assert times_done(server.folder) == before + 5


@pytest.mark.parametrize(
    ("words", "said"), [(["shpo", "-r", "x"], "did you mean 'shop'"), (["shop", "-r", " "], "say what")]
)
def test_a_reset_of_nothing_or_without_a_reason_is_an_error(server: Served, words: list[str], said: str) -> None:
    done = server.ask("reset", *words)
    assert done.returncode == 1
    assert said in done.stderr

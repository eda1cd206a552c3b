"""`quell merge|split`: which alerts are one incident, put right by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.command import Served, served, write_runbook
from tests.cli.test_quiet import fire


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("regroup")
    write_runbook(folder)
    (folder / "quell.yaml").write_text("correlation: {by: [team]}\n")
    with served(folder, "--config", "quell.yaml", "--runbooks", "fix.json") as running:
        yield running


def test_one_goes_on_in_the_other_and_is_taken_apart_again(server: Served) -> None:
    (one,), (other,) = fire(server, "Fan", team="a"), fire(server, "Pump", team="b")
    merged = server.ask("merge", one[:12], "--into", other, "--reason", "the same switch", "--by", "bob")
    assert merged.stdout == f"It goes on in incident {other}, where 2 alerts fire now.\n", merged.stderr
    assert f"it goes on in incident {other}, by bob" in server.ask("incidents", "timeline", one).stdout
    again = server.ask("merge", one, "--into", other)
    assert again.returncode == 1
    assert f"incident {one} is over" in again.stderr
    parted = server.ask("split", other, "Fan", "--reason", "no, it is another fault")
    new = parted.stdout.split()[5].rstrip(":")
    assert parted.stdout.startswith("1 alert now in incident "), parted.stderr
    assert new not in (one, other)
    assert f"goes on in incident {new}" in server.ask("incidents", "timeline", other).stdout
    assert server.json("incidents", "show", new)["firing"] != server.json("incidents", "show", other)["firing"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["merge", "I"], 2, "--into"),
        (["merge", "I", "--into", "none"], 1, "no incident 'none'"),
        (["merge", "I", "--into", "I"], 1, "cannot be merged into itself"),
        (["split", "I"], 2, "ALERT"),
        (["split", "I", "Nothing"], 1, "no alert of this incident 'Nothing'"),
        (["split", "I", "Belt"], 1, "nothing would stay"),
    ],
)
def test_what_cannot_be_is_said(server: Served, words: list[str], code: int, said: str) -> None:
    incident = (fire(server, "Belt", team="c") or [server.get("/api/v1/incidents")["incidents"][0]["id"]])[0]
    done = server.ask(*(incident if word == "I" else word for word in words))
    assert done.returncode == code, done.stderr
    assert said in done.stderr

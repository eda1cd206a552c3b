"""``quell`` itself: versions, help, exit codes, errors in words, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

import pytest

from quell import __version__
from quell.cli.commands import COMMANDS
from quell.cli.output import print_error
from quell.errors import Conflict, InvalidInput, NotFound, Problem, Unavailable
from tests.cli.terminal import ROOT, quell

HEAVY = ("typer", "rich", "pydantic", "yaml", "dbos", "fastapi", "sqlalchemy", "httpx", "psycopg")


def modules_after(*words: str) -> set[str]:
    """What was imported by the time the command ended."""
    code = (
        "import sys\n"
        "from quell.cli.main import main\n"
        "main(sys.argv[1:])\n"
        "print(*(name for name, module in sys.modules.items() if module), file=sys.stderr)"
    )  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, env=env, timeout=60, check=True)
    return set(ran.stderr.decode().split())


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word):
    said = quell(word)
    assert (said.code, said.out, said.err) == (0, f"quell {__version__}\n", "")


def test_version_among_other_words():
    assert quell("--version", "lint").out == f"quell {__version__}\n"


def test_the_version_needs_nothing():
    assert modules_after("--version").isdisjoint(HEAVY)


def test_help_loads_no_command():
    loaded = modules_after("--help")
    assert loaded.isdisjoint({command.target.partition(":")[0] for command in COMMANDS})
    assert loaded.isdisjoint({"dbos", "fastapi", "sqlalchemy", "httpx", "psycopg", "yaml"})


def test_lint_loads_neither_the_engine_nor_a_client_nor_what_draws():
    assert modules_after("lint", "--help").isdisjoint({"dbos", "fastapi", "sqlalchemy", "uvicorn", "quell.app"})
    examples = [str(path) for path in (ROOT / "examples").glob("*.*")]
    loaded = modules_after("lint", *examples)
    assert {"httpx", "quell.plugins.checks.database_query"} <= loaded
    assert loaded.isdisjoint(
        {"dbos", "fastapi", "sqlalchemy", "psycopg", "pymysql", "redis", "structlog", "rich", "click", "httpx._main"}
    )


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_server_holds_neither_what_draws_nor_what_signs(command):
    """What draws would also show every local value, secrets among them, in the traceback of a log."""
    loaded = modules_after(command, "--help")
    assert {"structlog", "quell.app"} <= loaded
    assert loaded.isdisjoint({"rich", "pygments", "cryptography.hazmat.primitives.serialization"})


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_row_of_the_table_is_there(command):
    module, _, attribute = command.target.partition(":")
    assert hasattr(import_module(module), attribute)
    said = quell(command.name, "--help")
    assert said.code == 0
    usage, _, rest = said.out.partition("\n")
    assert usage.startswith(f"Usage: quell {command.name}")
    assert f"  quell {command.name}" in rest, "help has no example"


def test_help_lists_every_command_and_the_exit_codes():
    for words in (["--help"], ["-h"], []):
        said = quell(*words)
        text = said.out + said.err
        assert all(f"  {command.name} " in text for command in COMMANDS)
        assert "Exit codes" in text


@pytest.mark.parametrize(
    "words", [["lnt"], ["lint"], ["lint", "--nothing"], ["plan"], ["runbook", "old"], ["--nothing"]]
)
def test_wrong_usage_is_2(words):
    said = quell(*words)
    assert said.code == 2
    assert "Usage:" in said.err
    assert "Traceback" not in said.err


def test_a_mistyped_command_is_guessed():
    assert "'lint'" in quell("lnt").err


def test_an_error_is_words():
    said = quell("plan", "nowhere.yaml")
    assert said.code == 1
    assert "nowhere.yaml: error: No such file or directory" in said.err
    assert "Traceback" not in said.err


def test_an_unexpected_error_is_one_line_and_debug_shows_where(tmp_path):
    # A plug-in that breaks at import is somebody else's bug: still no traceback.
    package = tmp_path / "broken-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[quell.plugins.checks]\nbroken = broken_plugin\n")
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('broken on purpose')\n")
    runbook = ROOT / "examples" / "mail-queue.yaml"
    # Three references keep this the same for a registry that loads late: an unknown type makes it ask them all.
    odd = tmp_path / "odd.yaml"
    odd.write_text(runbook.read_text().replace("type: log_search", "type: no_such_check"))
    env = {"PYTHONPATH": str(tmp_path)}
    said = quell("lint", odd, env=_path(env))
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "unexpected RuntimeError: broken on purpose" in said.err
    assert "--debug" in said.err
    assert "Traceback" in quell("lint", odd, "--debug", env=_path(env)).err


def _path(env: dict[str, str]) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), env["PYTHONPATH"]])}


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m quell.cli.main plan {ROOT}/examples/*slow.json --json | head -n 1"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, env=env, timeout=60, check=False
    )
    assert ran.stdout == b"{\n"
    assert ran.stderr == b""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotFound("runbook", "a", "b"), "quell: error: no runbook 'a'; did you mean 'b'?\n"),
        (Conflict("somebody was first"), "quell: error: somebody was first\n"),
        (Unavailable("the database is away"), "quell: error: the database is away\n"),
        (FileNotFoundError(2, "No such file", "x.yaml"), "quell: error: x.yaml: No such file\n"),
        (KeyError("x"), "quell: error: unexpected KeyError: 'x' (try this)\n"),
        (InvalidInput([Problem("odd", "rule", "a", 1, 2)]), "a:1:2: error: odd [rule]\n"),
    ],
)  # fmt: skip
def test_errors_by_kind(error, text, capsys):
    print_error(error, hint="try this")
    assert capsys.readouterr().err == text


def test_errors_as_json(capsys):
    print_error(InvalidInput([Problem("odd", "rule", "a", 1, 2)]), as_json=True)
    text = capsys.readouterr().err
    assert '"error":"1 problem"' in text
    assert '"column":2' in text

import asyncio
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.incident.finding import Health
from quell.plugins.checks import shell_command
from quell.plugins.checks._timestamps import newest
from quell.plugins.checks.shell_command import Params
from tests.plugins.checks.reading import at, counted_steps, judged, read, read_async
from tests.servers.process import wait_until

NOW = 1_753_000_000.0  # 2025-07-20T08:26:40Z


def say(text: str, **config):
    return read(shell_command, {"command": ["printf", "%s", text], **config}, clock=lambda: at(NOW))


def test_an_argument_vector_sees_no_shell():
    reading = read(shell_command, {"command": ["echo", "a; echo $HOME", "`id`"]})
    assert reading.facts["stdout"] == "a; echo $HOME `id`"
    assert reading.facts["exit_code"] == 0


def test_a_single_string_uses_the_shell():
    reading = read(shell_command, {"command": "printf '1\\n2\\n3\\n' | wc -l; echo oops >&2; exit 3"})
    assert reading.facts["exit_code"] == 3
    assert reading.facts["stderr"] == "oops"
    assert reading.facts["lines"] == ["3"]
    assert reading.facts["value"] == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [("42\n", 42), ("-1.5e3", -1500.0), ("42 items", None), ("nan", None), ("", None), ("1e999", None)],
)
def test_value_is_an_output_that_is_one_number(text, value):
    reading = say(text)
    assert reading.facts.get("value") == value
    assert ("value" in reading.missing) is (value is None)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("deployed 2025-07-20T08:20:00Z", 400),
        ("deployed 2025-07-20T10:20:00+02:00 by ci", 400),
        ("2025-07-20 08:20:00.123456 +0000 UTC", 399.9),
        ("2025-07-20 08:20:00,500 INFO", 399.5),
        ("2025/07/20 08:20:00 [error]", 400),
        ("Sun Jul 20 08:20:00 UTC 2025", 400),
        ("Date:   Sun Jul 20 10:20:00 2025 +0200", 400),
        ("Sun, 20 Jul 2025 08:20:00 GMT", 400),
        ("Sun 20 Jul 2025 08:20:00 AM UTC", 400),
        ('1.2.3.4 - - [20/Jul/2025:08:20:00 +0000] "GET / HTTP/1.1"', 400),
        ("Jul 20 08:20:00 host payment[1]: started", 400),
        ("I0720 08:20:00.000000       1 main.go:1] started", 400),
        ("/srv/releases/20250720082000", 400),
        ("started 5m ago", 300),
        ("started 2 hours ago", 7200),
        ("NAME      READY   STATUS    RESTARTS      AGE\npay-1     1/1     Running   3 (5m ago)    3h27m\n", 12420),
        ("LAST SEEN   TYPE     REASON\n7m          Normal   Pulled\n", 420),
        ("pay-1 1/1 Running 0 3h27m", 12420),
        ("1752999600", 400),
        ("1752999600000", 400),
    ],
)
def test_newest_reads_moments_as_programs_print_them(text, age):
    assert say(text).facts["age"] == pytest.approx(age, abs=0.2)


def test_newest_is_the_newest_that_has_been():
    reading = say("2025-07-20T06:00:00Z\n2025-07-20T08:00:00Z\nexpires 2026-01-01T00:00:00Z\n")
    assert reading.facts["newest"] == NOW - 1600
    assert reading.facts["deploy_within_30m"] is True
    assert reading.facts["deploy_within_15m"] is False
    assert reading.facts["no_recent_deploy"] is False


def test_a_stamp_of_last_december_read_in_january_is_of_last_year():
    january = 1_767_312_000.0  # 2026-01-02
    config = {"command": ["echo", "Dec 31 23:00:00 host app: up"]}
    reading = read(shell_command, config, clock=lambda: at(january))
    assert reading.facts["age"] == pytest.approx(90_000)


def test_a_stamp_of_another_year_is_not_one_of_this_year():
    assert say("Jul 20 08:20:00 2024 deployed").facts["age"] == 365 * 86_400 + 400


def test_a_number_without_end_is_no_age_and_breaks_nothing():
    assert say("9" * 400 + "d ago").missing["age"].error_class is None


def test_a_moment_at_the_end_of_a_long_line_counts():
    assert say("x" * 10_000 + " 2025-07-20T08:20:00Z").facts["age"] == 400


@pytest.mark.parametrize("text", ["y\n" * 50_000, "-" * 100_000, "0123456789" * 10_000, "x" * 100_000, " " * 100_000])
def test_a_flood_without_a_moment_takes_few_steps(text):
    with counted_steps() as steps:
        assert newest(text, NOW) is None
    assert steps[0] < 500


def test_an_output_too_long_to_be_searched_has_no_newest():
    config = {"command": "echo 2025-07-20T08:20:00Z; yes | head -c 300000", "max_bytes": "1MiB"}
    reading = read(shell_command, config, clock=lambda: at(NOW))
    assert reading.missing["newest"].error_class == "too_large"
    assert "longer than 256 KiB" in reading.missing["newest"].reason
    assert reading.facts["line_count"] == 150_001
    assert len(reading.facts["lines"]) == 1000


def test_a_large_output_does_not_hold_up_its_siblings():
    beats = at_the_end_of_the_program = 0

    def clock():
        nonlocal at_the_end_of_the_program
        at_the_end_of_the_program = beats
        return at(NOW)

    async def beside():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async def both():
        sibling = asyncio.create_task(beside())
        await read_async(shell_command, {"command": "yes | head -c 200000"}, clock=clock)
        sibling.cancel()

    asyncio.run(both())
    assert beats > at_the_end_of_the_program + 1


def test_a_zone_can_be_given_for_moments_without_one():
    assert say("2025-07-20 10:20:00", timezone="Europe/Berlin").facts["age"] == 400


def test_revision_numbers_are_no_moments_so_there_is_no_data():
    reading = say("REVISION  CHANGE-CAUSE\n12        <none>\n13        <none>\n")
    assert "deploy_within_30m" not in reading.facts
    assert reading.missing["no_recent_deploy"].error_class is None


def test_a_failed_command_is_an_error_and_not_a_quiet_system():
    reading = read(shell_command, {"command": "echo 'cannot reach the cluster' >&2; exit 1"})
    missing = reading.missing["no_recent_deploy"]
    assert missing.error_class == "failed"
    assert "cannot reach the cluster" in missing.reason


@pytest.mark.parametrize("signal", ["KILL", "SEGV"])
def test_a_command_that_a_signal_ended_is_an_error_with_its_name(signal):
    reading = read(shell_command, {"command": f"echo 7; kill -{signal} $$"})
    assert reading.summary == f"ended by SIG{signal}: 7"
    for conditions in ({"healthy": "exit_code == 0", "critical": "exit_code > 0"}, {"healthy": "value == 7"}):
        finding = judged(reading, **conditions)
        assert (finding.status, finding.error_class) == (Health.ERROR, "failed")
        assert f"the command was ended by SIG{signal}" in finding.message
    assert reading.missing["no_recent_deploy"].error_class == "failed"


def test_a_missing_program_and_a_missing_folder_are_named():
    with pytest.raises(Permanent, match="no program 'no-such-program'") as caught:
        read(shell_command, {"command": ["no-such-program"]})
    assert caught.value.error_class == "missing"
    with pytest.raises(Permanent, match="no folder"):
        read(shell_command, {"command": ["true"], "cwd": "/no/such/folder"})


def test_the_environment_is_only_what_is_named(monkeypatch):
    monkeypatch.setenv("QUELL_TEST_HIDDEN", "s3cret-value")
    reading = read(shell_command, {"command": ["env"], "env": {"COLOR": "blue"}})
    names = {line.partition("=")[0] for line in reading.facts["lines"]}
    assert "COLOR" in names
    assert "QUELL_TEST_HIDDEN" not in names


def test_a_secret_is_masked_wherever_it_is_printed(monkeypatch):
    monkeypatch.setenv("QUELL_TEST_TOKEN", "s3cret-value")
    config = {"command": "echo $T; echo $T >&2", "env": {"T": "env:QUELL_TEST_TOKEN"}}
    reading = read(shell_command, config)
    assert reading.facts["stdout"] == "***"
    assert "s3cret-value" not in repr(reading)


def test_standard_input_is_closed():
    assert read(shell_command, {"command": ["cat"]}).facts["stdout"] == ""


@pytest.mark.parametrize("octal", [r"\377\376 1", r"1\0001"])
def test_binary_output_says_nothing(octal):
    reading = read(shell_command, {"command": ["printf", octal]})
    assert {reading.missing[name].error_class for name in ("stdout", "lines", "value", "newest")} == {"invalid"}
    assert reading.facts["exit_code"] == 0


def test_a_flood_is_cut_and_says_nothing():
    reading = read(shell_command, {"command": ["yes", "2025-07-20T08:20:00Z"], "max_bytes": "64KiB"})
    assert reading.facts["truncated"] is True
    assert {why.error_class for why in reading.missing.values()} == {"too_large"}
    assert {"exit_code", "stdout", "line_count", "value", "age"} <= set(reading.missing)
    assert len(repr(reading)) < 65_536


def test_an_output_of_exactly_the_limit_is_whole():
    reading = read(shell_command, {"command": "head -c 1024 /dev/zero | tr '\\000' x", "max_bytes": 1024})
    assert reading.facts["truncated"] is False


def gone(pid_file: Path) -> bool:
    pid = int(pid_file.read_text())
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("wrap", ["", "setsid ", "env -i "])
def test_a_command_that_hangs_is_killed_with_all_it_started(tmp_path, wrap):
    child = tmp_path / "child"
    command = f"{wrap}sh -c 'echo $$ > {child}; sleep 60' & trap '' TERM; sleep 60"

    async def cancelled():
        running = asyncio.create_task(read_async(shell_command, {"command": command}))
        while not (child.exists() and child.read_text().strip()):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    wait_until(lambda: gone(child), "the child ended", 5)


def test_a_child_that_keeps_the_pipe_open_does_not_hold_up_the_check(tmp_path):
    child = tmp_path / "child"
    reading = read(shell_command, {"command": f"sleep 60 & echo $! > {child}; echo done"}, timeout_s=20)
    assert reading.facts["stdout"] == "done"
    wait_until(lambda: gone(child), "the child ended", 5)


def test_no_file_is_left_open():
    def handles():
        return set(os.listdir("/proc/self/fd"))

    async def many():
        await read_async(shell_command, {"command": ["true"]})
        before = handles()
        for _ in range(5):
            await read_async(shell_command, {"command": ["echo", "x"]})
        return before, handles()

    before, after = asyncio.run(many())
    assert len(after) <= len(before)


@pytest.mark.parametrize("config", [{"command": []}, {"command": " "}, {"command": ["ls"], "shell": True}, {"command": ["ls"], "timezone": "Mars/One"}])  # fmt: skip
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        Params.model_validate(config)

"""The configuration held against plug-ins and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor.house import of, report, said


def test_sources_are_read_as_the_server_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_TOKEN", "s3cret")
    told = report(
        tmp_path,
        sources={
            "alertmanager": {"token": "env:AM_TOKEN"},
            "open": {"type": "alertmanager"},
            "typo": {"type": "alertmanger"},
            "odd": {"type": "alertmanager", "tokn": "env:AM_TOKEN"},
            "unset": {"type": "alertmanager", "token": "env:NOT_SET_AT_ALL"},
        },
    )
    assert [str(one.level) for one in of(told, "source")] == ["ok", "ok", "error", "error", "ok"]
    assert said(told, "source", "source alertmanager") == [("ok", "asks for credentials")]
    assert "did you mean 'alertmanager'?" in said(told, "source", "typo")[0][1]
    assert ("error", "secret env:NOT_SET_AT_ALL: the environment has no NOT_SET_AT_ALL") in said(told, "secret")
    assert "s3cret" not in str(told)


def test_a_guardrail_of_nothing_is_an_error(tmp_path: Path) -> None:
    told = report(tmp_path, guardrails={"actions": {"restart_servise": {"rate": "1/1h"}}})
    (one,) = of(told, "guardrails")
    assert (one.level, one.advice) == ("error", "write restart_service")
    told = report(tmp_path, guardrails={"actions": {"restart_service": {"rate": "1/1h"}}})
    assert said(told, "guardrails") == [("ok", "each names what exists")]


def test_an_empty_secret_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    told = report(tmp_path, sources={"alertmanager": {"token": "env:EMPTY"}})
    assert ("warning", "what it leads to is empty") in said(told, "secret")

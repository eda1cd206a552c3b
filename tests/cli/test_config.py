"""Where logs go: one JSON object a line, and no secret in any, whoever wrote it."""

import json
import logging

import pytest
import structlog

from quell.cli.config import configure_logs
from quell.redact import KNOWN


@pytest.fixture(autouse=True)
def _logs_as_they_were():
    root, engine = logging.getLogger(), logging.getLogger("dbos")
    before = (root.handlers[:], root.level, engine.handlers[:], engine.propagate)
    yield
    structlog.reset_defaults()
    root.handlers[:], engine.handlers[:], engine.propagate = before[0], before[2], before[3]
    root.setLevel(before[1])


def test_no_line_holds_a_secret(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    KNOWN.learn('tk-77"Qx91')
    try:
        raise ValueError('bad tk-77"Qx91')
    except ValueError as error:
        structlog.get_logger("quell").error("it_failed", token='tk-77"Qx91', exc_info=error)
        logging.getLogger("library").warning('refused tk-77"Qx91', exc_info=error)
    lines = capfd.readouterr().err.strip().splitlines()
    assert [json.loads(line)["level"] for line in lines] == ["error", "warning"]
    assert "Qx91" not in "".join(lines)
    assert json.loads(lines[0])["token"] == "•••"

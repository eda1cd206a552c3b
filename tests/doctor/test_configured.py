"""Sources and guardrails: what the start of the server would refuse is an error here."""

from quell.doctor.asked import Failure
from quell.doctor.configured import judge_guardrails, judge_source
from quell.doctor.judgement import Level
from quell.errors import Problem


def test_sources() -> None:
    assert judge_source("am", "alertmanager", True).found == "asks for credentials"
    assert "asks for a token" in judge_source("am", "alertmanager", False).found
    assert judge_source("am", "alertmanger", Failure("invalid", "no alert source")).level is Level.ERROR


def test_guardrails() -> None:
    (well,) = judge_guardrails(())
    assert well.level is Level.OK
    (wrong,) = judge_guardrails(
        [Problem("no action type 'restrt'", path="guardrails.actions.restrt", nearest="restart")]
    )
    assert (wrong.level, wrong.looked_at, wrong.advice) == (Level.ERROR, "guardrails.actions.restrt", "write restart")

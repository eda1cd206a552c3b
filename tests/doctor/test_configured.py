"""Sources and guardrails: what the start of the server would refuse is an error here."""

from quell.doctor.asked import Failure
from quell.doctor.configured import judge_guardrails, judge_needs, judge_source
from quell.doctor.judgement import Level
from quell.errors import Problem
from quell.incident.service import Service


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


def test_what_services_depend_on() -> None:
    shop = Service(name="shop", depends_on=("ledger", "stock-db", "leger", "books", "moon"))
    ledger = Service(name="ledger", aliases=("books",))
    told = judge_needs({"shop": shop, "ledger": ledger}, ["stock-db"])
    assert {one.level for one in told} == {Level.WARNING}
    assert [(one.found, one.advice) for one in told] == [
        ("nothing is called leger", "write ledger"),
        ("nothing is called books", "write ledger"),
        ("nothing is called moon", "add it to services, or take it out"),
    ]
    (well,) = judge_needs({"ledger": ledger}, [])
    assert well.level is Level.OK

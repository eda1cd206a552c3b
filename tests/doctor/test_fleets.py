"""States and rights of services → what is told of them."""

import pytest

from quell.doctor.asked import Failure
from quell.doctor.fleets import judge, judge_rights
from quell.doctor.judgement import Level
from quell.fleet import Replica, Right, ServiceState


@pytest.mark.parametrize(
    ("seen", "level", "said"),
    [
        (None, Level.OK, "no driver"),
        (Failure("denied", "HTTP 403"), Level.ERROR, "HTTP 403"),
        (ServiceState((Replica("a", True), Replica("b", False)), 2, "v3"), Level.OK, "1 of 2 ready, version v3"),
        (ServiceState((Replica("a", False),), 2), Level.WARNING, "0 of 2 ready"),
        (ServiceState((), 0), Level.OK, "0 of 0 ready"),
    ],
)
def test_state(seen: ServiceState | Failure | None, level: Level, said: str) -> None:
    judged = judge("shop in eu", seen)
    assert judged.level is level
    assert said in judged.found
    assert "in eu.drivers" not in judged.advice


def test_rights_that_lack_and_rights_too_many() -> None:
    rights = (Right("get deployments", True, "state"), Right("patch scale", False, "scale"), Right("get secrets", True))
    lacking, excess = judge_rights("shop", rights)
    assert (lacking.level, lacking.found) == (Level.WARNING, "the account may not patch scale")
    assert lacking.advice == "grant it, or know that scale will be refused"
    assert (excess.level, excess.found) == (Level.WARNING, "the account may get secrets")
    (well,) = judge_rights("shop", rights[:1])
    assert well.level is Level.OK
    (unknown,) = judge_rights("shop", Failure("timeout", "no answer"))
    assert unknown.level is Level.WARNING

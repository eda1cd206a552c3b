"""What conditions read of a finding."""

import pytest

from quell.incident.finding import Finding, Health
from quell.respond.view import finding_view


@pytest.mark.parametrize(
    ("own", "fact", "read"),
    [
        ("timeout", None, "timeout"),
        (None, "exhausted", "exhausted"),
        ("timeout", "exhausted", "timeout"),
        (None, None, ""),
    ],
)
def test_the_error_class_is_the_findings_own_or_what_the_check_says_as_a_fact(
    own: str | None, fact: str | None, read: str
) -> None:
    facts = {"error_class": fact} if fact else {}
    finding = Finding(check="admission", status=Health.CRITICAL, error_class=own, facts=facts)
    assert finding_view(finding)["error_class"] == read

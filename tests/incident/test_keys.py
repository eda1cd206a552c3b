"""Whose a key is."""

from __future__ import annotations

import pytest

from quell.incident.keys import incident_of, incidents_of


@pytest.mark.parametrize(
    ("key", "incident"),
    [
        ("run:01jd.1", "01jd"), ("run:01jd.12/mend/1/eu", "01jd"), ("run:01jd.1/mend/1/", "01jd"),
        ("page:01jd.1", "01jd"), ("page:01jd.2.again", "01jd"), ("revert:run:01jd.1/mend/1/", "01jd"),
        ("run:01jd.1/mend.undo/1/a:b.2", "01jd"), ("invoice/7", None), ("", None), ("run:", None), ("x.1", None),
    ],
)  # fmt: skip
def test_whose_a_key_is(key: str, incident: str | None) -> None:
    assert incident_of(key) == incident


def test_of_several_those_that_are_asked_for() -> None:
    keys = ["run:01a.1", "invoice/7", "page:01b.2"]
    assert incidents_of(keys) == ["01a", "01b"]
    assert incidents_of(keys, {"01b"}) == ["01b"]
    assert incidents_of(keys, set()) == []

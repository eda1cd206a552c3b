"""Silences by Alertmanager's API: made, changed, listed, ended; what is wrong; whatever is posted."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plugins.sources.bodies import damaged, sent, values
from tests.web.house import House

SILENCES, SILENCE = "/api/v2/silences", "/api/v2/silence"


def at(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def body(name: str = "Hushed", **more: Any) -> dict[str, Any]:
    return {
        "matchers": [{"name": "alertname", "value": name, "isRegex": False}], "startsAt": at(0), "endsAt": at(60),
        "createdBy": "ines", "comment": "the disks are being changed", **more,
    }  # fmt: skip


def make(house: House, name: str = "Hushed", **more: Any) -> str:
    answer = house.http.post(SILENCES, json=body(name, **more))
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"silenceID"}
    return str(uuid.UUID(answer.json()["silenceID"]))


def get(house: House, silence: str) -> dict[str, Any]:
    answer = house.http.get(f"{SILENCE}/{silence}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def listed(house: House, **query: Any) -> list[dict[str, Any]]:
    answer = house.http.get(SILENCES, params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


@pytest.mark.parametrize("is_regex", [False, True])
@pytest.mark.parametrize("is_equal", [False, True])
def test_what_was_posted_is_shown(house: House, is_regex: bool, is_equal: bool) -> None:
    told = {"name": "node", "value": "a|b", "isRegex": is_regex, "isEqual": is_equal}
    first = {"name": "alertname", "value": "Shown", "isRegex": False, "isEqual": True}
    given_at = at(30)
    found = get(house, make(house, matchers=[first, told], endsAt=given_at))
    assert found["matchers"] == [first, told]
    assert (found["createdBy"], found["comment"]) == ("ines", "the disks are being changed")
    assert found["status"] == {"state": "active"}
    apart = datetime.fromisoformat(found["endsAt"]) - datetime.fromisoformat(given_at)
    assert abs(apart) < timedelta(milliseconds=1)
    assert all(found[name].endswith("Z") for name in ("startsAt", "endsAt", "updatedAt"))


def test_without_is_equal_it_asks_for_the_value(house: House) -> None:
    assert get(house, make(house))["matchers"][0]["isEqual"] is True


def test_what_a_client_was_given_it_may_send_back(house: House) -> None:
    """As an import of an export does, with what is Alertmanager's own to say."""
    given_back = get(house, make(house, "Returned"))
    answer = house.http.post(SILENCES, json={**given_back, "comment": "longer", "endsAt": at(90)})
    assert answer.json() == {"silenceID": given_back["id"]}
    assert get(house, given_back["id"])["comment"] == "longer"


def test_other_matchers_make_another_silence_in_its_place(house: House) -> None:
    old = make(house, "Old")
    new = make(house, "New", id=old)
    assert new != old
    assert get(house, old)["status"] == {"state": "expired"}
    assert get(house, new)["status"] == {"state": "active"}


def test_it_is_ended_once(house: House) -> None:
    made = make(house)
    answer = house.http.delete(f"{SILENCE}/{made}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert get(house, made)["status"] == {"state": "expired"}
    again = house.http.delete(f"{SILENCE}/{made}")
    assert again.status_code == 409
    assert "ended at" in again.json()


def test_what_is_not_there_is_404_and_a_beginning_is_not_enough(house: House) -> None:
    made = make(house)
    for name in (str(uuid.uuid4()), made[:8], made[:-1]):
        for answer in (
            house.http.get(f"{SILENCE}/{name}"),
            house.http.delete(f"{SILENCE}/{name}"),
            house.http.post(SILENCES, json=body(id=name)),
        ):
            assert (answer.status_code, type(answer.json())) == (404, str), answer.text
    assert get(house, made)["status"] == {"state": "active"}


def test_they_are_listed_in_alertmanagers_order(house: House) -> None:
    mine = uuid.uuid4().hex
    late, soon = make(house, mine, endsAt=at(50)), make(house, mine, endsAt=at(40))
    tomorrow, today = (make(house, mine, startsAt=at(start), endsAt=at(3000)) for start in (2000, 100))
    first, second = make(house, mine), make(house, mine)
    for one in (first, second):
        house.http.delete(f"{SILENCE}/{one}").raise_for_status()
    found = listed(house, filter=f"alertname={mine}")
    assert [one["id"] for one in found] == [soon, late, today, tomorrow, second, first]
    assert [one["status"]["state"] for one in found] == ["active"] * 2 + ["pending"] * 2 + ["expired"] * 2


def test_a_filter_asks_for_a_matcher_letter_by_letter(house: House) -> None:
    mine = uuid.uuid4().hex
    made = make(house, mine, createdBy=mine)
    for query, there in (
        ({"filter": f"alertname={mine}"}, True), ({"filter": f'{{alertname="{mine}"}}'}, True),
        ({"filter": f"alertname=~{mine}"}, False), ({"filter": f"alertname!={mine}"}, False),
        ({"filter": [f"alertname={mine}", "node=a"]}, False), ({"creator": mine}, True),
        ({"creator": ["x", mine]}, True), ({"creator": "x"}, False),
    ):  # fmt: skip
        assert (made in [one["id"] for one in listed(house, **query)]) is there, query


@pytest.mark.parametrize("wrong", ["a", 'a=~"("', ""])
def test_a_filter_that_is_none_is_400(house: House, wrong: str) -> None:
    answer = house.http.get(SILENCES, params={"filter": wrong})
    assert (answer.status_code, type(answer.json())) == (400, str)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"matchers": []}, "matchers: "),
        ({"matchers": [{"name": "a", "value": "", "isRegex": False}]}, "match every alert"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, "matchers: "),
        ({"matchers": [{"name": "a", "value": "b"}]}, "matchers.0.isRegex: is missing"),
        ({"matchers": [{"name": "", "value": "b", "isRegex": "yes"}]}, "matchers.0.isRegex: "),
        ({"matchers": [{"name": "a", "value": "b", "isRegex": False}] * 51}, "matchers: "),
        ({"endsAt": at(-1)}, "endsAt: it ends before it begins"),
        ({"startsAt": at(-9), "endsAt": at(-1)}, "endsAt: it would have ended already"),
        ({"endsAt": at(60 * 24 * 400)}, "endsAt: a silence ends by itself within a year"),
        ({"startsAt": 5}, "startsAt: "),
        ({"startsAt": "2026-01-01T00:00:00"}, "startsAt: a time needs its offset"),
        ({"startsAt": "0001-01-01T00:00:00+01:00"}, "startsAt: no such time"),
        ({"createdBy": " "}, "createdBy: say who you are"),
        ({"comment": ""}, "comment: say why"),
        ({"comment": "x" * 1001}, "comment: the comment is too long"),
        ({"endsAt": None, "comment": None}, "comment: "),
    ],
)
def test_what_is_wrong_is_400_with_a_text(house: House, more: dict[str, Any], why: str) -> None:
    before = listed(house)
    answer = house.http.post(SILENCES, json=body(**more))
    assert (answer.status_code, type(answer.json())) == (400, str), answer.text
    assert why in answer.json()
    assert listed(house) == before


def test_every_fault_is_told_at_once(house: House) -> None:
    told = house.http.post(SILENCES, json={"matchers": 1, "startsAt": "x", "comment": 5}).json()
    for name in ("matchers", "startsAt", "endsAt", "createdBy", "comment"):
        assert f"{name}: " in told


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b'{"comment": "\\u0000"}'])
def test_a_body_that_is_no_silence_is_400(house: House, content: bytes) -> None:
    answer = house.http.post(SILENCES, content=content)
    assert (answer.status_code, type(answer.json())) == (400, str), answer.text


WHOLE = body("Fuzzed", startsAt="2026-03-04T05:01:02.123456789Z", endsAt="2099-01-01T00:00:00Z")
MATCHERS = st.fixed_dictionaries(
    {"name": st.text(max_size=9) | values, "value": st.text(max_size=9) | values, "isRegex": st.booleans() | values}
)
SILENT = st.fixed_dictionaries(
    {
        "matchers": st.lists(MATCHERS, max_size=3) | values, "startsAt": st.just(at(0)) | values,
        "endsAt": st.sampled_from([at(60), "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z"]) | values,
        "createdBy": st.text(max_size=9) | values, "comment": st.text(max_size=9) | values,
    },
    optional={"id": st.text(max_size=5) | values},
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged(WHOLE) | (SILENT | values).map(sent))
def test_no_body_is_a_5xx_and_what_is_refused_is_not_there(house: House, content: bytes) -> None:
    before = listed(house)
    answer = house.http.post(SILENCES, content=content)
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code == 200:
        made = get(house, answer.json()["silenceID"])
        assert made["comment"] == json.loads(content)["comment"].strip()
        house.http.delete(f"{SILENCE}/{made['id']}").raise_for_status()
    else:
        assert isinstance(answer.json(), str)
        assert listed(house) == before

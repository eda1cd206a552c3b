"""Any JSON by a mapping: what is mapped, what is missing, what is no alert, which mapping stops the start."""

import copy
import hashlib
import hmac
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import InvalidInput
from quell.incident.alert import Alert, AlertStatus, Severity, fingerprint_of
from quell.plugins.sources.generic import Params, parse, verify
from quell.runbook.source import load
from tests.app import house
from tests.plugins.sources.bodies import RECEIVED, Read, damaged, makes_and_ends_one_incident, or_refused, sent, values

MAPPING: dict[str, Any] = {
    "items": "alerts", "unless": {"state": "test"}, "name": "labels.name",
    "status": {"path": "state", "firing": ["open", "alert", 2], "resolved": ["ok", "closed", False], "acknowledged": ["seen"]},
    "fingerprint": ["id"], "service": {"path": "labels.app", "default": ""}, "environment": "$.env",
    "region": {"default": "eu-1"}, "severity": {"path": "level", "default": "warning", "words": {"disaster": "P1", 4: "P2"}},
    "labels": {"team": "meta.team", "cluster": "$.cluster", "rack": {"path": "meta.rack", "default": ""}},
    "labels_from": ["labels"], "summary": {"path": "text", "default": ""}, "starts_at": {"path": "since", "default": ""},
    "url": {"path": "link", "default": ""}, "by": {"path": "who", "default": ""},
}  # fmt: skip
BODY: dict[str, Any] = {
    "env": "prod", "cluster": 3,
    "alerts": [
        {"id": 17, "state": "OPEN", "level": "disaster", "labels": {"name": "QueueDeep", "app": "shop", "zone": "a"},
         "meta": {"team": "payments"}, "text": "9000 jobs wait", "since": 1790504100, "link": "https://mine/17"},
        {"id": 18, "state": "ok", "level": 4, "labels": {"name": "MailSlow"}, "meta": {"team": "mail"}},
    ],
}  # fmt: skip


def read(document: Any, **params: Any) -> Read:
    return parse(sent(document), {}, Params.model_validate(params or MAPPING), RECEIVED)


def changed(index: int, **fields: Any) -> dict[str, Any]:
    document = copy.deepcopy(BODY)
    document["alerts"][index].update(fields)
    return document


def first(document: Any, **params: Any) -> Alert:
    (alert, *_), quarantined = read(document, **params)
    assert quarantined == []
    return alert


def test_every_field_is_where_the_mapping_says() -> None:
    (alert, second), quarantined = read(BODY)
    assert quarantined == []
    assert (alert.source, alert.name, alert.status) == ("generic", "QueueDeep", AlertStatus.FIRING)
    assert (alert.fingerprint, alert.service, alert.severity) == ("17", "shop", Severity.P1)
    assert (alert.environment, alert.region, alert.summary) == ("prod", "eu-1", "9000 jobs wait")
    assert alert.labels == {"name": "QueueDeep", "app": "shop", "zone": "a", "team": "payments", "cluster": "3"}
    assert (alert.starts_at, alert.url) == (datetime(2026, 9, 27, 10, 15, tzinfo=UTC), "https://mine/17")
    assert alert.details["item"]["id"] == 17
    assert (second.status, second.severity, second.service) == (AlertStatus.RESOLVED, Severity.P2, None)


def test_a_mapped_field_that_is_missing_costs_the_item_not_its_siblings() -> None:
    document = changed(0)
    del document["alerts"][0]["meta"]
    alerts, ((reason, fragment),) = read(document)
    assert ([alert.name for alert in alerts], reason) == (["MailSlow"], "alerts[0].meta.team: missing")
    assert fragment["id"] == 17


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"state": "paused"}, 'alerts[0].state: "paused", not one of open, alert, 2, ok, closed, false, seen'),
        ({"state": None}, "alerts[0].state: missing"),
        ({"state": ["open"]}, "alerts[0].state: list, not a text"),
        ({"id": None}, "alerts[0].id: missing, and it tells alerts apart"),
        ({"id": " "}, "alerts[0].id: empty, and it tells alerts apart"),
        ({"labels": {"name": ""}}, "alerts[0].labels.name: empty, and it is the alert's name"),
        ({"labels": {"name": "x", "pod": {}}}, "alerts[0].labels.pod: object, not a text"),
        ({"labels": "x"}, "alerts[0].labels.name: missing"),
        ({"meta": {"team": {}}}, "alerts[0].meta.team: object, not a text"),
        ({"since": "soon"}, 'alerts[0].since: "soon", not a time such as 2026-01-02T03:04:05Z'),
    ],
)
def test_what_is_wrong_is_set_aside_with_its_path(fields: dict[str, Any], reason: str) -> None:
    alerts, quarantined = read(changed(0, **fields))
    assert ([alert.name for alert in alerts], [said for said, _ in quarantined]) == (["MailSlow"], [reason])


def test_a_field_of_the_body_that_is_missing_is_told_by_every_item() -> None:
    document = {key: value for key, value in BODY.items() if key != "cluster"}
    assert [reason for reason, _ in read(document)[1]] == ["cluster: missing", "cluster: missing"]


@pytest.mark.parametrize(
    ("state", "status"),
    [("Open", "firing"), (2, "firing"), (2.0, "firing"), (False, "resolved"), ("seen", "acknowledged")],
)
def test_words_are_texts_numbers_or_truth_values_in_any_case(state: Any, status: str) -> None:
    assert first(changed(0, state=state)).status == status


def test_who_acknowledged_it() -> None:
    assert first(changed(0, state="seen", who="rosa")).details["by"] == "rosa"
    assert "by" not in first(changed(0, state="open", who="rosa")).details


def test_conditions_say_what_is_an_alert() -> None:
    assert [alert.name for alert in read(changed(0, state="TEST"))[0]] == ["MailSlow"]
    wanted = {**MAPPING, "when": {"kind": ["alert", "alarm"]}}
    document = changed(0, kind="Alarm")
    document["alerts"][1]["kind"] = "report"
    assert [alert.name for alert in read(document, **wanted)[0]] == ["QueueDeep"]
    _, quarantined = read(changed(0, kind="alert"), **wanted)
    assert [reason for reason, _ in quarantined] == ["alerts[1].kind: missing, and `when` asks for it"]


@pytest.mark.parametrize(
    ("document", "names"),
    [({"name": "A", "status": "firing"}, ["A"]), ([{"name": "A", "status": "firing"}], ["A"]), ([], []),
     ([{"name": "A", "status": "firing"}, {"name": "B", "status": "resolved"}], ["A", "B"])],
)  # fmt: skip
def test_without_items_the_body_is_the_alert_or_the_list_of_them(document: Any, names: list[str]) -> None:
    assert [alert.name for alert in read(document, name="name")[0]] == names


def test_places_without_items() -> None:
    faulty = {"name": "A"}
    assert [reason for reason, _ in read(faulty, name="name")[1]] == ["status: missing"]
    assert [reason for reason, _ in read([faulty, 5], name="name")[1]] == [
        "[0].status: missing",
        "[1]: number, not an object",
    ]


@pytest.mark.parametrize(
    ("paths", "item", "fingerprint"),
    [
        ("id", {"id": "a-1"}, "a-1"),
        ("id", {"id": "x" * 300}, fingerprint_of({"id": "x" * 300})),
        (["id", "pod"], {"id": 1, "pod": "b"}, fingerprint_of({"id": "1", "pod": "b"})),
        ([], {"id": 1}, fingerprint_of({"alertname": "A", "service": ""})),
    ],
)
def test_what_tells_alerts_apart(paths: Any, item: dict[str, Any], fingerprint: str) -> None:
    assert first({"name": "A", "status": "firing", **item}, fingerprint=paths).fingerprint == fingerprint


def test_a_status_that_is_not_there_may_have_a_default() -> None:
    assert first({"name": "A"}, status={"default": "firing"}).status is AlertStatus.FIRING
    assert read({"name": "A", "status": "?"}, status={"default": "firing"})[0] == [], "what is there must be known"


@pytest.mark.parametrize(
    ("body", "path", "rule"),
    [(b"{}", "alerts", "type"), (b'{"alerts": 5}', "alerts", "type"), (b"5", "alerts", "type"), (b"{", "", "json"),
     (b'{"alerts": [' + b"0," * 2000 + b"0]}", "alerts", "too_many")],
)  # fmt: skip
def test_a_body_without_alerts_is_refused(body: bytes, path: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body)
    assert [(problem.path, problem.rule) for problem in caught.value.problems] == [(path, rule)]


KEYS = st.sampled_from(["id", "state", "level", "labels", "meta", "text", "since", "link", "who"])


@given(st.dictionaries(KEYS, values, max_size=4), values, st.sampled_from(["env", "cluster", "x"]), values)
def test_no_field_raises_anything_but_invalid_input(fields: dict[str, Any], sibling: Any, key: str, value: Any) -> None:
    document = changed(0, **fields)
    document["alerts"].append(sibling)
    document[key] = value
    found = or_refused(lambda: read(document))
    if found is not None:
        assert len(found[0]) + len(found[1]) <= 3
        assert key != "x" or "MailSlow" in {alert.name for alert in found[0]}


@given(damaged(BODY))
def test_no_damage_raises_anything_but_invalid_input(body: bytes) -> None:
    or_refused(lambda: read(body))


# Mappings.

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a..b"}, "name"), ({"name": {}}, "name"), ({"name": 5}, "name"), ({"items": ""}, "items"),
    ({"labels": {"team": "[x]"}}, "labels.team"), ({"labels": {"team": {"pth": "a"}}}, "labels.team.pth"),
    ({"status": {"firing": []}}, "status.firing"), ({"status": {"firing": ["a"], "resolved": ["A"]}}, "status.resolved"),
    ({"status": {"default": "off"}}, "status.default"), ({"severity": {"path": "l", "words": {"x": "P9"}}}, "severity.words.x"),
    ({"when": {"a b": "x"}}, "when.a b.[key]"), ({"when": {"a": []}}, "when.a"), ({"nme": "x"}, "nme"),
    ({"secret": "env:A"}, "signature_header"), ({"signature_header": "X-S"}, "signature_header"),
    ({"signature_prefix": "sha256="}, "signature_prefix"), ({"secret": "env:A", "signature_header": "a b"}, "signature_header"),
]  # fmt: skip


@pytest.mark.parametrize(("mapping", "place"), WRONG, ids=[str(mapping) for mapping, _ in WRONG])
def test_a_mapping_that_is_wrong_is_refused(mapping: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Params.model_validate(mapping)
    places = [(item.get("ctx") or {}).get("place", item["loc"]) for item in caught.value.errors()]
    assert [".".join(map(str, one)) for one in places] == [place]


@pytest.mark.anyio
async def test_a_mapping_that_is_wrong_stops_the_start_and_says_all_of_it(tmp_path: Path) -> None:
    more = (
        "sources: {mine: {type: generic, nme: a, name: {pth: a, path: 'b..c'}, status: {firing: [open], resolved: [OPEN]}},"
        " other: {type: genric}}\n"
    )
    with pytest.raises(InvalidInput) as caught:
        async with house(tmp_path, [], more=more):
            pass
    told = {problem.path: problem for problem in caught.value.problems}
    assert set(told) == {
        "sources.mine.nme", "sources.mine.name.pth", "sources.mine.name.path", "sources.mine.status.resolved",
        "sources.other.type",
    }  # fmt: skip
    assert (told["sources.mine.nme"].nearest, told["sources.mine.name.pth"].nearest) == ("name", "path")
    assert told["sources.mine.name.path"].found == "'b..c'"
    assert "one of path, default" in str(told["sources.mine.name.pth"].expected)
    assert (told["sources.other.type"].nearest, told["sources.other.type"].found) == ("generic", "genric")


def test_the_documentations_mapping_reads_the_documentations_body() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
    section = page[page.index("## Generic") :]
    mapping, body = (re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("yaml", "json"))  # type: ignore[index]
    ((given_,),) = (one.data["sources"].values() for one in load(mapping))
    alerts, quarantined = read(body.encode(), **{key: value for key, value in given_.items() if key != "type"})
    assert [(one.name, one.severity, one.status) for one in alerts] == [("Disk full", Severity.P1, AlertStatus.FIRING)]
    assert quarantined == []


# Who may post.


@pytest.mark.parametrize(
    ("given_", "good"),
    [("sha256={}", True), ("{}", False), ("sha256=00", False), ("sha1={}", False), ("", False)],
)
def test_the_body_must_be_signed(given_: str, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_SECRET", "s3cret-of-mine")
    params = Params(secret="env:MINE_SECRET", signature_header="X-Mine", signature_prefix="sha256=")
    made = hmac.new(b"s3cret-of-mine", b"{}", hashlib.sha256).hexdigest()
    said = verify({"x-mine": given_.format(made)}, b"{}", params)
    assert (said is None) is good
    assert said is None or "s3cret" not in said
    assert verify({"x-mine": f"sha256={made}"}, b"{} ", params)


def test_everybody_may_post_when_nothing_is_configured() -> None:
    assert verify({}, b"", Params()) is None


@pytest.mark.anyio
async def test_firing_and_resolved_make_and_end_one_incident(tmp_path: Path) -> None:
    more = (
        "sources: {mine: {type: generic, items: alerts, name: labels.name, fingerprint: id,"
        " status: {path: state, firing: open, resolved: ok}}}\n"
    )
    firing, resolved = changed(0), changed(0, state="ok")
    for body in (firing, resolved):
        del body["alerts"][1]
    await makes_and_ends_one_incident(tmp_path, "mine", firing, resolved, more=more)


@pytest.mark.anyio
async def test_two_sources_of_a_kind_may_have_the_same_ids(tmp_path: Path) -> None:
    mapping = "{type: generic, fingerprint: id}"
    body = {"id": 1, "status": "firing"}
    async with house(tmp_path, [], more=f"sources: {{one: {mapping}, two: {mapping}}}\n") as home:
        for source in ("one", "two"):
            await home.app.receive(source, {}, sent({**body, "name": f"from {source}"}))
        assert sorted(row["source"] for row in await home.app.alerts()) == ["one", "two"]

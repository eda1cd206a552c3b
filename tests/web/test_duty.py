"""Whoever has an incident in hand, over HTTP and from the page: by hand, handed over, the glass broken, closed."""

from typing import Any

from tests.web.house import House

STEP = {"step": "calm", "result": "failed", "note": "no rights", "by": "Ines"}


def escalated(house: House, fires: str) -> str:
    """An incident that nobody could help: its last decision does not hold."""
    house.set(errors="0.5")
    house.runbook("shop-none", alert=fires)
    house.http.post("/api/v1/reload")
    incident = house.alert(fires)
    house.until(incident, "escalated")
    return incident


def say(house: House, incident: str, word: str, body: dict[str, Any]) -> Any:
    return house.http.post(f"/api/v1/incidents/{incident}/{word}", json=body)


def test_by_hand_handed_over_resolved_and_closed(house: House) -> None:
    incident = escalated(house, "DutyOne")
    assert say(house, incident, "hand-over", {"to": "Omar", "by": "Ines"}).status_code == 409
    assert say(house, incident, "take", {"by": "Ines"}).status_code == 200
    stepped = say(house, incident, "steps", STEP)
    assert (stepped.status_code, stepped.json()["steps"][0]["name"]) == (200, "End idle sessions")
    assert (
        say(house, incident, "hand-over", {"to": "Omar", "note": "look at 9", "by": "Ines"}).json()["handed_to"]
        == "Omar"
    )
    assert "hands over to Omar" in house.http.get(f"/incidents/{incident}").text
    assert say(house, incident, "take", {"by": "Omar"}).json()["assignee"] == "Omar"
    assert say(house, incident, "close", {"by": "Omar"}).status_code == 409
    assert say(house, incident, "resolve", {"by": "Omar"}).status_code == 200
    assert say(house, incident, "close", {"by": "Omar", "reason": "written up"}).json()["status"] == "closed"


def test_how_a_runbook_in_shadow_compares_is_told_beside_it(house: House) -> None:
    house.set(errors="9", release="2")
    house.runbook("shop-shadow", alert="ShadowOne", mode="shadow")
    house.http.post("/api/v1/reload")
    assert house.http.get("/api/v1/shadow").json() == {"runbooks": []}
    assert "in shadow" not in house.http.get("/runbooks").text
    house.until(house.alert("ShadowOne"), "escalated")
    (told,) = house.http.get("/api/v1/shadow").json()["runbooks"]
    assert (told["runbook"], told["runs"], told["pending"]) == ("shop-shadow", 1, 1)
    assert (
        "in shadow 1 time: people did the same 0, other 0, cannot tell 0, not over 1"
        in house.http.get("/runbooks").text
    )


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("steps", {**STEP, "result": "half"}, "result"),
    ("steps", {**STEP, "step": ""}, "step"),
    ("hand-over", {"by": "Ines"}, "to"),
    ("break-glass", {"by": "Ines"}, "reason"),
    ("break-glass", {"by": "Ines", "reason": "now", "for": "9h"}, "ends by itself"),
    ("break-glass", {"by": "Ines", "reason": "now", "for": "soon"}, "for"),
]


def test_what_is_wrong_is_said(house: House) -> None:
    incident = escalated(house, "DutyTwo")
    for word, body, said in WRONG:
        answer = say(house, incident, word, body)
        assert (answer.status_code, said in answer.text) == (422, True), answer.text


def test_the_glass_is_broken(house: House) -> None:
    pause = {"scope": "all", "for": "1h", "reason": "we move", "by": "Ines"}
    name = house.http.post("/api/v1/pauses", json=pause).json()["id"]
    try:
        house.set(errors="12.4", release="2")
        incident = house.alert("ShopErrors", n="glass")
        house.until(incident, "escalated")
        broken = say(house, incident, "break-glass", {"reason": "customers cannot pay", "for": "5m", "by": "Omar"})
        assert broken.json()["override"]["by"] == "Omar"
        house.until(incident, "resolved")
    finally:
        house.http.post("/api/v1/pauses/resume", json={"pause": name, "by": "Ines"})


def test_nothing_is_kept(house: House) -> None:
    assert house.http.get("/api/v1/obligations").json() == {"obligations": []}
    gone = house.http.post("/api/v1/obligations/end", json={"obligation": "run:x.1/y/1/", "how": "kept", "by": "Ines"})
    assert gone.status_code == 404


def test_the_same_from_the_page(house: House) -> None:
    incident = escalated(house, "DutyThree")
    page = house.http.get(f"/incidents/{incident}")
    csrf = page.text.split('name="csrf" value="')[1].split('"')[0]

    def form(deed: str, **fields: str) -> int:
        sent = {"csrf": csrf, "by": "Ines", **fields}
        return house.http.post(f"/incidents/{incident}/{deed}", data=sent, headers={"accept": "text/html"}).status_code

    assert form("take") == 303
    shown = house.http.get(f"/incidents/{incident}").text
    assert "Hand over" in shown
    assert form("step", done="back") == 303
    assert form("step", step="called the vendor", result="failed", reason="no answer") == 303
    assert form("hand-over", to="Omar") == 303
    assert "Take it as Omar" in house.http.get(f"/incidents/{incident}").text
    assert form("break-glass", reason="customers cannot pay", **{"for": "soon"}) == 422
    assert form("break-glass", reason="customers cannot pay", **{"for": "5m"}) == 303
    assert form("resolve") == 303
    assert "Close" in house.http.get(f"/incidents/{incident}").text
    assert form("close") == 303
    known = house.http.get(f"/api/v1/incidents/{incident}").json()
    assert known["status"] == "closed"
    assert [(one["step"], one["result"]) for one in known["steps"]] == [
        ("back", "done"),
        ("called the vendor", "failed"),
    ]

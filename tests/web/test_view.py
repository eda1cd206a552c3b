"""An incident as its page tells it: what people recognise, not what we number."""

from tests.web.house import House


def text(house: House, incident: str) -> str:
    return house.http.get(f"/incidents/{incident}").text


def test_alerts_have_their_names(house: House) -> None:
    incident = house.alert("ShopAsk", pod="a", region="eu")
    assert house.alert("ShopAsk", pod="b", region="eu") == incident
    house.until(incident, "waiting_approval")
    page = text(house, incident)
    assert "ShopAsk pod=b joined: " in page
    assert "<small>ShopAsk and ShopAsk pod=b</small>" in page
    house.alert("ShopAsk", status="resolved", pod="a", region="eu")
    page = text(house, incident)
    assert "ShopAsk pod=a resolved: " in page
    assert "<small>ShopAsk pod=b</small>" in page
    numbers = house.incident(incident)["firing"] + house.incident(incident)["resolved_alerts"]
    assert len(numbers) == 2
    assert not [number for number in numbers if number in page]


def test_a_storm_is_a_few_names_and_a_number(house: House) -> None:
    house.runbook("storm", alert="Storm", approval="approval: {expires: 10m}")
    house.http.post("/api/v1/reload")
    incident = house.alert("Storm", pod="0")
    for number in range(1, 9):
        assert house.alert("Storm", pod=str(number)) == incident
    assert "<small>9 × Storm</small>" in text(house, incident)


def test_alerts_of_one_name_are_told_apart_in_their_list(house: House) -> None:
    house.alert("Twin", pod="left")
    house.alert("Twin", pod="right")
    page = house.http.get("/alerts").text
    assert "<code>pod=left</code>" in page
    assert "<code>pod=right</code>" in page


def test_an_alert_that_outlives_its_incident_is_explained(house: House) -> None:
    house.set(errors="12.4")
    incident = house.alert("ShopErrors", pod="late")
    house.until(incident, "resolved")
    assert "<small>ShopErrors (not reported as resolved yet)</small>" in text(house, incident)

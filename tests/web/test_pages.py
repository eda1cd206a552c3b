"""The pages in a real browser: with and without JavaScript, live, by keyboard, small."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quell.runbook.outline import outline
from tests.servers.chromium import Chromium, Page
from tests.servers.process import wait_until
from tests.web.house import House, alerts

PHONE = (390, 844)
TAB, ENTER = "\ue004", "\ue007"
LOADED = """performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"))
    .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
FIRST_LOAD = 20_000


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    # A short path, as in real calls: what fits on a phone must not hang on how deep the tests' folder lies.
    with tempfile.TemporaryDirectory(prefix="q") as folder:
        house = House(Path(folder))
        (house.folder / "runbooks" / "broken.yaml").write_text("id: broken\nseverity: P9\n")
        for number in range(13):
            # Of two who must agree, one may: what is asked changes then, and is still asked.
            people = 2 if number == 4 else 1
            terms = f"approval: {{expires: 10m, people: {people}}}"
            house.runbook(f"ask-{number}", alert=f"Ask{number}", approval=terms)
        with house:
            yield house


def waiting(house: House, alert: str) -> str:
    house.set(errors="12.4")
    name = house.alert(alert)
    house.until(name, "waiting_approval")
    # The primary is told beside the run; what that tells would redraw a page that a test has opened meanwhile.
    path = f"/api/v1/incidents/{name}/timeline"
    wait_until(lambda: "notified" in {one["kind"] for one in house.http.get(path).json()["events"]}, "somebody is told")
    return name


def fits(page: Page) -> bool:
    return bool(page.eval("document.documentElement.scrollWidth <= innerWidth"))


def test_the_empty_list_tells_how_to_begin(house: House, chromium: Chromium) -> None:
    with chromium.page(*PHONE) as page:
        page.open(house.url)
        assert f"{house.url}/webhooks/alertmanager" in page.text("#list")
        assert "1 runbook cannot run" in page.text("#notice")
        assert fits(page)


def test_approving_works_without_javascript(house: House, chromium: Chromium) -> None:
    name = waiting(house, "Ask0")
    with chromium.page(*PHONE, javascript=False) as page:
        page.open(f"{house.url}/incidents/{name}")
        assert page.text("h1").startswith("Waiting for you: approve “Roll back to the release before”")
        page.type("#asks input[name=by]", "Ines")
        page.click("#asks button.yes")
        assert page.url == f"{house.url}/incidents/{name}"
        told = house.until(name, "resolved")
        assert [one["by"] for one in told["approvals"].values()] == ["Ines"]
        page.open(page.url)
        assert page.text("h1").startswith("Resolved in ")
        assert "verified on Error rate" in page.text("h1")
        assert "critical → healthy" in page.text("#proof").replace("\n", " ")


def test_the_card_has_what_wins_trust_in_its_order(house: House, chromium: Chromium) -> None:
    name = waiting(house, "Ask1")
    approval = next(iter(house.incident(name)["approvals"].values()))
    with chromium.page(*PHONE) as page:
        page.open(f"{house.url}/incidents/{name}")
        card = page.text(".ask")
        parts = [approval["hash"][:8], approval["call"], "Targets", "Changes", "Why", "errors.critical → true",
                 "Error rate critical", "Before", "done ", "Undo", "cannot be undone", "Silence", "left, then nothing runs"]  # fmt: skip
        places = [card.replace("\n", " ").find(part) for part in parts]
        assert -1 not in places, dict(zip(parts, places, strict=True))
        assert places == sorted(places)
        assert page.text(".buttons").split("\n") == ["Approve", "Deny", "Take over"]
        in_view = "document.querySelector('.buttons').getBoundingClientRect().bottom <= innerHeight"
        assert page.eval(in_view)
        name_ends = "document.querySelector('[name=by]').getBoundingClientRect().bottom"
        assert page.eval(f"{name_ends} <= document.querySelector('.buttons').getBoundingClientRect().top")
        page.devtools("Emulation.setDeviceMetricsOverride", width=390, height=500, deviceScaleFactor=1, mobile=False)
        assert page.eval("document.querySelector('.ask').getBoundingClientRect().bottom > innerHeight + 100")
        assert page.eval(in_view), "they stay in view however long the card is"
        assert fits(page)
        assert "critical" in page.text(".impact")
    with chromium.page() as page:
        page.open(f"{house.url}/incidents/{name}")
        card = page.text(".ask").replace("\n", " ")
        assert 0 < card.find("Impact Error rate: critical, exit 0") < card.find("Before ") < card.find("Undo ")


def test_what_others_do_arrives_without_reload(house: House, chromium: Chromium) -> None:
    name = waiting(house, "Ask2")
    with chromium.page() as page:
        page.open(f"{house.url}/incidents/{name}")
        page.eval("window.mark = 1")
        house.http.post(f"/api/v1/approvals/{name}/approve", json={"by": "Omar"})
        page.wait_for("document.querySelector('h1').textContent.startsWith('Resolved')")
        assert "Omar" in page.text("#timeline")
        assert page.eval("document.querySelector('[role=status]').textContent.startsWith('Resolved')")
        assert page.eval("window.mark") == 1


def test_a_click_is_answered_in_place_and_the_loser_learns_who_won(house: House, chromium: Chromium) -> None:
    name = waiting(house, "Ask3")
    approval = next(iter(house.incident(name)["approvals"]))
    with chromium.page() as page:
        page.open(f"{house.url}/incidents/{name}")
        page.eval("window.mark = 1")
        page.eval("document.querySelector('.ask').setAttribute('action', '/approvals/none')")
        page.type("#asks input[name=by]", "Ines")
        page.click("#asks button.yes")
        page.wait_for("document.querySelector('[role=alert]').textContent.includes('none')")
        page.eval(f"document.querySelector('.ask').setAttribute('action', '/approvals/{approval}')")
        page.click("#asks button[value=denied]")
        page.wait_for("document.querySelector('h1').textContent.startsWith('A person is needed')")
        assert page.eval("window.mark") == 1
    assert next(iter(house.incident(name)["approvals"].values()))["by"] == "Ines"


@pytest.mark.parametrize("javascript", [True, False])
def test_nobody_in_particular_is_asked_for_a_name(house: House, chromium: Chromium, javascript: bool) -> None:
    name = waiting(house, f"Ask{8 + javascript}")
    with chromium.page(*PHONE, javascript=javascript) as page:
        page.open(f"{house.url}/incidents/{name}")
        page.type("#asks input[name=by]", "  ")
        page.click("#asks button.yes")
        assert page.eval("document.activeElement.name") == "by"
        assert page.eval("document.activeElement.validity.valid") is False
        if javascript:
            assert page.text("#asks [role=alert]").startswith("Your name is needed")
    assert house.incident(name)["status"] == "waiting_approval"


def test_the_name_is_typed_once(house: House, chromium: Chromium) -> None:
    """Into one form; the next one, which arrives live, has it, and so has the next page."""
    name, other = waiting(house, "Ask10"), waiting(house, "Ask11")
    with chromium.page() as page:
        page.open(f"{house.url}/incidents/{name}")
        page.type("#asks input[name=by]", "Ines")
        house.http.post(f"/api/v1/incidents/{name}/take", json={"by": "Omar"})
        page.wait_for("document.querySelector('#asks form.person') !== null")
        assert page.eval("document.querySelector('#asks input[name=by]').value") == "Ines"
        page.click("#asks button[formaction$=resolve]")
        page.wait_for("document.querySelector('h1').textContent.startsWith('Resolved')")
        page.open(f"{house.url}/incidents/{other}")
        assert page.eval("document.querySelector('#asks input[name=by]').value") == "Ines"


def test_typed_text_focus_and_open_details_survive_an_update(house: House, chromium: Chromium) -> None:
    name = waiting(house, "Ask4")
    with chromium.page() as page:
        page.open(f"{house.url}/incidents/{name}")
        page.eval("document.querySelector('#findings details').open = true")
        page.type("#asks input[name=reason]", "half a sen")
        page.eval("document.querySelector('#asks input[name=reason]').setSelectionRange(2, 4)")
        page.eval("document.querySelector('#asks form').mark = 1")
        house.http.post(f"/api/v1/approvals/{name}/approve", json={"by": "Omar"})
        page.wait_for("document.querySelector('#asks form').mark !== 1")
        assert "2 must agree; Omar did" in page.text("#asks")
        assert page.eval("document.querySelector('#asks input[name=reason]').value") == "half a sen"
        assert page.eval("document.activeElement.name") == "reason"
        assert page.eval("document.activeElement.selectionStart") == 2
        assert page.eval("document.querySelector('#findings details').open") is True
        assert page.eval("document.querySelector('#asks input[name=csrf]').value.length") > 10


def test_the_first_load_is_small(house: House, chromium: Chromium) -> None:
    for number in range(20):
        house.alert(f"An alert with a rather long name {number}")
    name = waiting(house, "Ask5")
    house.http.post("/api/v1/silences", json={"matchers": ["a=b"], "for": "1m", "reason": "small", "by": "Ines"})
    of_one = ("", "/execution", "/alerts")
    pages = (
        "/",
        *(f"/incidents/{name}{part}" for part in of_one),
        "/guardrails",
        "/silences",
        "/route",
        "/tokens",
        "/past",
    )
    for path in pages:
        with chromium.page(*PHONE) as page:
            page.open(house.url + path)
            page.wait_for("document.readyState === 'complete'")
            size = page.eval(LOADED)
            assert 5_000 < size <= FIRST_LOAD, f"{path}: {size} bytes"
            assert fits(page)


def test_return_in_a_field_answers_nothing(house: House, chromium: Chromium) -> None:
    """Of several buttons the first would be pressed: a reason that is being written must not be a yes."""
    name = waiting(house, "Ask12")
    with chromium.page(*PHONE) as page:
        page.open(f"{house.url}/incidents/{name}")
        page.type("form.ask input[name=by]", "Ines")
        page.type("form.ask input[name=reason]", "a migration runs\ue007")
        page.eval("document.querySelector('form.ask input[name=reason]').form.querySelectorAll('[aria-busy]').length")
        house.http.post(f"/api/v1/incidents/{name}/ack", json={"by": "Omar"})  # comes after whatever Return did
        page.wait_for("document.body.textContent.includes('Acknowledged by Omar')")
    known = house.http.get(f"/api/v1/incidents/{name}").json()
    assert [one["answer"] for one in known["approvals"].values()] == [None]


def test_the_plan_is_drawn_when_it_comes_into_view(house: House, chromium: Chromium) -> None:
    name = waiting(house, "Ask6")
    with chromium.page(*PHONE) as page:
        page.open(f"{house.url}/incidents/{name}")
        assert page.eval("document.querySelector('#plan details').open") is False
        page.eval("scrollTo(0, document.body.scrollHeight)")
        page.wait_for("document.querySelector('#plan details').open && document.querySelector('#plan img').complete")
        page.wait_for("document.querySelector('#plan img').naturalWidth > 100")


def test_by_keyboard_alone(house: House, chromium: Chromium) -> None:
    name = waiting(house, "Ask7")
    with chromium.page() as page:
        page.open(f"{house.url}/incidents/{name}")
        order = []
        for _ in range(17):
            page.press(TAB)
            order.append(page.eval("document.activeElement.textContent.trim() || document.activeElement.name"))
            assert page.eval("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert order[:6] == ["Skip to content", "Quell", "Incidents", "Runbooks", "Alerts", "Silences"]
        rest = [one for one in order if one in ("by", "reason", "Approve", "Deny", "Take over")]
        assert rest == ["by", "reason", "Approve", "Deny", "Take over"]
        page.type("#asks input[name=by]", "Ines")
        page.eval("document.querySelector('#asks button[value=denied]').focus()")
        page.press(ENTER)
        page.wait_for("document.querySelector('h1').textContent.startsWith('A person is needed')")


def test_the_list_moves_by_itself(house: House, chromium: Chromium) -> None:
    with chromium.page(*PHONE) as page:
        page.open(house.url)
        name = house.alert("BrandNew")
        page.wait_for("document.querySelector('#list').textContent.includes('BrandNew on shop')")
        # Found and clicked in one go: the list may be another one a moment later.
        page.eval(f"(document.querySelector(`#list a[href='/incidents/{name}']`).click(), 1)")
        page.wait_for("document.querySelector('#state') !== null")
        assert fits(page)


def test_runbooks_and_alerts(house: House, chromium: Chromium) -> None:
    body = alerts({"alertname": "First", "service": "shop"})
    body["alerts"][0]["status"] = "<script>alert(1)</script>"
    house.http.post("/webhooks/alertmanager", json=body)
    with chromium.page(*PHONE) as page:
        page.open(f"{house.url}/runbooks")
        assert "broken.yaml" in page.text()
        assert "cannot run" in page.text()
        assert fits(page)
        page.click("a[href='/runbooks/shop-errors']")
        page.wait_for("document.querySelector('img') && document.querySelector('img').naturalWidth > 100")
        assert fits(page)
        page.open(f"{house.url}/alerts")
        assert "<script>alert(1)</script>" in page.text()
        assert fits(page)
        page.open(house.url)
        wait_until(lambda: "could not be read" in page.text("#notice"), "the notice")


def test_a_runbook_says_what_it_does_and_what_is_wrong_with_it(house: House, chromium: Chromium) -> None:
    lost = house.folder / "runbooks" / "lost.yaml"
    house.runbook("lost")
    lost.write_text(lost.read_text().replace("then: [back]", "then: [bakc]"))
    bad = house.folder / "runbooks" / "bad.yaml"
    bad.write_text(lost.read_text().replace("id: lost", "id: bad").replace("pool.critical", "pol.critical"))
    house.http.post("/api/v1/reload")
    with chromium.page(*PHONE) as page:
        page.open(house.url)
        assert "1 runbook runs with problems" in page.text("#notice")
        page.open(f"{house.url}/runbooks")
        assert page.text("a[href='/runbooks/lost'] .chip") == "problems"
        assert "'bakc'" in page.text("a[href='/runbooks/lost']")
        assert page.text("a[href='/runbooks/shop-errors'] .chip") == "ok"
        assert fits(page)
        page.click("a[href='/runbooks/lost']")
        assert "It runs, with problems" in page.text(".card")
        assert "did you mean back?" in page.text(".card")
        plan = house.app.library.plan("lost")
        assert page.eval("document.querySelector('.outline').textContent") == outline(plan)
        assert page.eval(LOADED) < FIRST_LOAD * 2, "the drawing, which comes last, is half of it"
        assert fits(page)
        page.open(f"{house.url}/runbooks/bad")
        assert "It cannot run" in page.text(".card")
        assert "did you mean pool?" in page.text(".card")
        assert "otherwise" not in page.text(".card")
        assert fits(page)
    for file in (lost, bad):
        file.unlink()
    house.http.post("/api/v1/reload")


def test_what_is_not_there_is_a_page_too(house: House, chromium: Chromium) -> None:
    with chromium.page(*PHONE) as page:
        page.open(f"{house.url}/incidents/none")
        assert page.text("h1") == "no incident 'none'"
        assert page.count("main a[href='/']") == 1
        assert page.count("main a[href='/incidents/none']") == 0, "looking again at what is not there helps nobody"
        assert fits(page)

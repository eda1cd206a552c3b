"""An incident's execution over HTTP and on paper: the same that the command prints."""

from __future__ import annotations

import base64
import json

from tests.cli.command import run_quell, told
from tests.servers.chromium import Chromium
from tests.web.formed import HTML
from tests.web.house import House


def resolved(house: House) -> str:
    house.set(errors="12.4")
    incident = house.alert("ShopErrors")
    house.until(incident, "resolved")
    return incident


def test_the_api_says_what_the_command_says(house: House) -> None:
    incident = resolved(house)
    path = f"/api/v1/incidents/{incident[:8]}/execution"
    steps = 0
    while steps != (steps := len(house.http.get(path).json()["steps"])):
        # Whoever is told is told beside the run: asked for again until nothing came in between.
        printed = told(run_quell(house.folder, "audit", "report", incident, "--json", "--db", "quell.db"))
    answer = house.http.get(path).json()
    assert answer == json.loads(json.dumps(printed).replace("+00:00", "Z"))
    assert answer["schema"] == "quell.execution/1"


def test_the_page_has_every_step_and_is_reached_from_the_incident(house: House, chromium: Chromium) -> None:
    incident = resolved(house)
    report = house.http.get(f"/api/v1/incidents/{incident}/execution").json()
    with chromium.page(390, 844, javascript=False) as page:
        page.open(f"{house.url}/incidents/{incident}")
        page.click("#timeline a[href$='/execution']")
        assert page.url == f"{house.url}/incidents/{incident}/execution"
        assert page.text("h1").startswith("Resolved after ")
        assert page.text("h1").endswith("without people")
        assert page.count(".steps li") == len(report["steps"])
        last = report["steps"][-1]
        text = page.text(".steps li:last-child")
        assert last["action"] in text
        assert last["hash"][:16] in text
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.devtools("Emulation.setEmulatedMedia", media="print")
        shown = "[...document.querySelectorAll('header,form,.onward,#paused')].filter(e => e.offsetParent).length"
        assert page.eval(shown) == 0, "on paper stands the report alone"
        paper = base64.b64decode(page.devtools("Page.printToPDF")["data"])
        assert paper.startswith(b"%PDF")


def test_one_that_is_under_way_has_a_report_so_far(house: House) -> None:
    house.set(errors="12.4")
    incident = house.alert("ShopAsk")
    house.until(incident, "waiting_approval")
    page = house.http.get(f"/incidents/{incident}/execution", headers=HTML)
    assert page.status_code == 200
    assert "<h1>Waiting approval after " in page.text


def test_what_is_not_there_is_404(house: House) -> None:
    for path in ("/api/v1/incidents/none/execution", "/incidents/none/execution"):
        assert house.http.get(path).status_code == 404

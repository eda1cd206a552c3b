"""What ``/api/v1/openapi.json`` says is what the server does, and nothing that it describes is answered with a 5xx.

Schemathesis makes requests from the description, at its edges and beyond them, the same ones each time; each is sent
once as it is made, and once about something that is there. The stream of an incident's events is left out: it does not
end by itself, and ``test_live`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from quell.app import App
from quell.settings import Settings
from quell.web.described import ERRORS
from quell.web.server import OPENAPI, make_server
from tests.servers.postgres import Postgres
from tests.web.house import House

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance,
]  # fmt: skip
EXAMPLES = 8
ENDLESS = "/api/v1/incidents/{incident}/events"
DESCRIPTION: dict[str, Any] = make_server(App(Settings())).openapi()
schema = schemathesis.openapi.from_dict(DESCRIPTION).exclude(path=ENDLESS)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """On both databases: what one of them takes the other may not."""
    folder = tmp_path_factory.mktemp("house")
    if request.param == "sqlite":
        with House(folder) as house:
            yield house
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    with server.fresh_database() as name, House(folder, database=server.url(name)) as house:
        yield house


@pytest.fixture(scope="module")
def known(house: House) -> dict[str, str]:
    """What is there, by the name of the parameter that asks for it."""
    answer = house.http.post("/incidents/trigger", json={"runbookId": "shop-ask"})
    incident = str(answer.json()["execution"]["incidentId"])
    waiting = house.until(incident, "waiting_approval")
    house.alert("Other")
    house.http.post("/webhooks/alertmanager", json={"version": "4", "alerts": [{"status": "on"}]})
    made = house.http.post("/api/v1/silences", json={"matchers": ["a=b"], "for": "1h", "reason": "r", "by": "ann"})
    return {"silence": made.json()["id"], "incident": incident, "approval": next(iter(waiting["approvals"])), "runbook": "shop-ask",
            "service": "shop"}  # fmt: skip


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_it_answers_as_described(case: Case, house: House, known: dict[str, str]) -> None:
    case.call_and_validate(base_url=house.url, checks=CHECKS)
    if case.path_parameters:
        case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        case.call_and_validate(base_url=house.url, checks=CHECKS)


def test_it_is_served_as_it_is_tested(house: House) -> None:
    assert house.http.get(OPENAPI).json() == DESCRIPTION


def test_every_error_is_described_and_every_post_takes_a_key() -> None:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            keys = [one for one in operation.get("parameters", ()) if one == {"$ref": "#/components/parameters/key"}]
            assert len(keys) == (method == "post"), path
            refs = {status: one["$ref"] for status, one in operation["responses"].items() if "$ref" in one}
            assert {"401", "403", "421", "503"} <= set(refs), path
            assert all(ref == f"#/components/responses/{status}" for status, ref in refs.items()), path
    assert set(DESCRIPTION["components"]["responses"]) == {str(status) for status in ERRORS}


# What it has found.


@pytest.mark.parametrize("after", [2**31, 2**63, 10**400])
def test_no_log_is_as_long_as_some_ask_for(house: House, known: dict[str, str], after: int) -> None:
    path = f"/api/v1/incidents/{known['incident']}/timeline"
    answer = house.http.get(path, params={"after": after})
    assert (answer.status_code, answer.json()["problems"][0]["path"]) == (422, "query.after")
    assert house.http.get(path, params={"after": 2**31 - 1}).json() == {"events": []}


@pytest.mark.parametrize("last", ["9" * 5000, "99999999999", "\xb2", "-1", "x"])
def test_a_stream_goes_on_from_whatever_a_browser_remembers(house: House, known: dict[str, str], last: str) -> None:
    headers = {"last-event-id": last.encode("latin-1")}
    with house.http.stream("GET", ENDLESS.format(incident=known["incident"]), headers=headers) as answer:
        assert answer.status_code == 200

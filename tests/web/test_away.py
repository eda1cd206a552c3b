"""A database that goes away under a running server: 503, the process lives, nothing that was accepted is lost."""

from pathlib import Path

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.web.house import House, alerts


def test_while_the_database_is_away_everybody_is_told_to_come_again(tmp_path: Path) -> None:
    with Postgres() as server, House(tmp_path, database=server.url()) as house:
        first = house.alert("First")
        server.crash()
        second = alerts({"alertname": "Second", "service": "shop"})
        answer = house.http.post("/webhooks/alertmanager", json=second)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "does not answer" in answer.json()["error"]
        assert house.http.get("/readyz").status_code == 503
        assert house.http.get("/healthz").status_code == 200
        page = house.http.get("/", headers={"accept": "text/html"})
        assert page.status_code == 503
        assert "<h1>" in page.text

        server.start()
        wait_until(lambda: house.http.get("/readyz").status_code == 200, "ready again")
        assert house.http.post("/webhooks/alertmanager", json=second).status_code == 200
        titles = {one["title"] for one in house.http.get("/api/v1/incidents").json()["incidents"]}
        assert titles == {"First on shop", "Second on shop"}
        assert house.incident(first)["title"] == "First on shop"

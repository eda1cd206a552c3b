"""A database that goes away under a running server: 503, the process lives, nothing that was accepted is lost."""

from pathlib import Path

import httpx

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.web.house import alerts
from tests.web.served import Served


def test_while_the_database_is_away_everybody_is_told_to_come_again(tmp_path: Path) -> None:
    settings = tmp_path / "quell.yaml"
    with Postgres() as database:
        settings.write_text(f"database: {database.url()}\nservices: {{shop: {{}}}}\n")
        with Served(settings) as served, httpx.Client(base_url=served.url, timeout=60) as http:
            first, second = (alerts({"alertname": name, "service": "shop"}) for name in ("First", "Second"))
            assert http.post("/webhooks/alertmanager", json=first).status_code == 200
            database.crash()
            answer = http.post("/webhooks/alertmanager", json=second)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "does not answer" in answer.json()["error"]
            assert http.get("/readyz").status_code == 503
            assert http.get("/healthz").status_code == 200
            page = http.get("/", headers={"accept": "text/html"})
            assert page.status_code == 503
            assert "does not answer" in page.text

            database.start()
            wait_until(lambda: http.get("/readyz").status_code == 200, "ready again")
            assert http.post("/webhooks/alertmanager", json=second).status_code == 200
            titles = {one["title"] for one in http.get("/api/v1/incidents").json()["incidents"]}
            assert titles == {"First on shop", "Second on shop"}

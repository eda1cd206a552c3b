"""Sessions and the server's own life: they outlive it, its key does not."""

from __future__ import annotations

from pathlib import Path

import httpx

from quell.incident.access import Role
from tests.web.secured import Secured


def test_sessions_outlive_the_server(tmp_path: Path) -> None:
    with Secured(tmp_path, insecure=False) as house:
        text = house.token("ann", Role.VIEWER)
        with house.browser(text) as browser, httpx.Client(base_url=house.url) as linked:
            linked.get(house.link)
            cookies = [dict(browser.cookies), dict(linked.cookies)]
        key = house.key
    with Secured(tmp_path, insecure=False) as house:
        names = [httpx.get(f"{house.url}/api/v1/me", cookies=one).json()["role"] for one in cookies]
        assert names == ["viewer", "admin"]
        assert httpx.get(f"{house.url}/readyz", headers={"authorization": f"Bearer {key}"}).status_code == 401
        house.http.delete("/api/v1/tokens/local")
        assert httpx.get(f"{house.url}/readyz", cookies=cookies[1]).status_code == 401
        assert httpx.get(f"{house.url}/readyz", cookies=cookies[0]).status_code == 200

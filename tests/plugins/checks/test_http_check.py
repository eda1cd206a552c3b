import asyncio
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.plugins.checks import http_check
from quell.plugins.checks.http_check import Params
from tests.fakes.serving import FakeServer, Fault, Reply, Request
from tests.fakes.tls import TestAuthority, TlsServer
from tests.plugins.checks.reading import read, read_async


class Site(FakeServer):
    """A few pages, well and ill behaved."""

    def answer(self, request: Request) -> Reply:
        path = request.path
        if path == "/broken":
            return Reply.text("no", 500)
        if path == "/here":
            return Reply.text("", 302, {"location": "/health"})
        if path == "/loop":
            return Reply.text("", 302, {"location": "/loop"})
        if path == "/away":
            return Reply.text("", 302, {"location": f"http://localhost:{self.port}/health"})
        if path == "/flood":
            return Reply(200, chunks=(b"x" * 65536 for _ in range(10_000)))
        if path == "/drip":
            return Reply(200, chunks=self._drips())
        if path == "/nasty":
            return Reply.text("a" * 100_000)
        return Reply.text('{"status": "ok"}')

    def _drips(self):
        while not self._stopping.wait(0.05):
            yield b"."


@pytest.fixture
def site():
    with Site() as server:
        yield server


def test_all_healthy(site):
    urls = [{"name": "a", "url": f"{site.url}/health", "expect_body": '"ok"'}, f"{site.url}/other"]
    reading = read(http_check, {"urls": urls})
    assert reading.facts["all_healthy"] is True
    assert reading.facts["any_unreachable"] is False
    assert reading.facts["healthy_count"] == reading.facts["total_count"] == 2
    assert reading.facts["status"] == 200
    assert reading.facts["body_matches"] is True
    assert 0 < reading.facts["any_slow"] == reading.facts["max_latency"]
    assert [one.target for one in reading.targets] == ["a", f"{site.url}/other"]


def test_a_refused_connection_is_a_fact_beside_its_siblings(site, free_port):
    urls = [{"name": "up", "url": site.url}, {"name": "down", "url": f"http://127.0.0.1:{free_port}/"}]
    reading = read(http_check, {"urls": urls})
    assert reading.facts["any_unreachable"] is True
    assert reading.facts["unreachable_count"] == 1
    up, down = reading.targets
    assert up.facts["all_healthy"] is True
    assert down.facts["error_class"] == "refused"
    assert "status" in down.missing


def test_an_error_status_is_reachable_and_not_healthy(site):
    reading = read(http_check, {"url": f"{site.url}/broken"})
    assert reading.facts["reachable"] is True
    assert reading.facts["all_healthy"] is False
    assert reading.facts["status"] == 500
    assert read(http_check, {"url": f"{site.url}/broken", "expect_status": ["2xx", 500]}).facts["healthy"] is True


def test_a_name_that_does_not_exist_is_dns():
    reading = read(http_check, {"url": "http://no-such-host.invalid/"})
    assert reading.facts["error_class"] == "dns"


def test_a_body_that_drips_is_ended_by_the_time_limit(site):
    urls = [{"name": "drip", "url": f"{site.url}/drip", "timeout": "300ms"}, {"name": "ok", "url": site.url}]
    reading = read(http_check, {"urls": urls}, timeout_s=20)
    drip, well = reading.targets
    assert drip.facts["error_class"] == "timeout"
    assert drip.facts["any_slow"] >= 0.3
    assert well.facts["healthy"] is True


def test_an_address_that_hangs_does_not_take_the_others_with_it(site):
    site.inject(Fault.slow(60, path="/slow"))
    urls = [{"name": "slow", "url": f"{site.url}/slow"}, {"name": "ok", "url": site.url}]
    reading = read(http_check, {"urls": urls}, timeout_s=2)
    assert [one.facts["healthy"] for one in reading.targets] == [False, True]


def test_a_flood_is_read_up_to_the_limit(site):
    reading = read(http_check, {"url": f"{site.url}/flood", "max_bytes": "128KiB", "expect_body": "y"})
    assert reading.facts["body_matches"] is False
    assert "in the part that was read" in reading.facts["error"]


@pytest.mark.parametrize("pattern", ["a.*a.*a.*b", "(?:a|aa){60}b"])
def test_a_pattern_that_takes_long_does_not_hold_up_the_loop(site, pattern):
    ticks = []

    async def ticking():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    async def both():
        ticker = asyncio.create_task(ticking())
        config = {"url": f"{site.url}/nasty", "expect_body": pattern, "timeout": "700ms"}
        reading = await read_async(http_check, config)
        ticker.cancel()
        return reading

    reading = asyncio.run(both())
    assert reading.facts["error_class"] == "timeout"
    assert len(ticks) > 3  # a loop that is held up does not tick


def test_patterns_that_run_away_are_refused():
    for pattern in ("(a+)+b", r"(a)\1", "(?=a)b", "("):
        with pytest.raises(ValidationError):
            Params.model_validate({"url": "http://a/", "expect_body": pattern})


def test_redirects_stay_on_the_host(site):
    assert read(http_check, {"url": f"{site.url}/here"}).facts["status"] == 200
    away = read(http_check, {"url": f"{site.url}/away"})
    assert away.facts["healthy"] is False
    assert "another host (localhost)" in away.facts["error"]
    allowed = read(http_check, {"url": f"{site.url}/away", "redirects": "any", "headers": {"x-token": "secret"}})
    assert allowed.facts["healthy"] is True
    assert "x-token" not in site.requests[-1].headers
    assert read(http_check, {"url": f"{site.url}/here", "redirects": "none"}).facts["status"] == 302
    assert "more than 5 redirects" in read(http_check, {"url": f"{site.url}/loop"}).facts["error"]


def test_metadata_addresses_are_refused():
    reading = read(http_check, {"url": "http://169.254.169.254/latest/meta-data/"})
    assert reading.facts["error_class"] == "denied"


def test_secrets_go_to_the_server_and_nowhere_else(site, monkeypatch, free_port):
    monkeypatch.setenv("QUELL_TEST_TOKEN", "s3cret-value")
    headers = {"authorization": "env:QUELL_TEST_TOKEN"}
    reading = read(http_check, {"url": f"{site.url}/?key=s3cret-query", "headers": headers})
    assert site.requests[-1].headers["authorization"] == "s3cret-value"
    assert "s3cret" not in repr(reading)
    failed = read(http_check, {"url": f"http://me:s3cret-login@127.0.0.1:{free_port}/?key=s3cret-query"})
    assert "s3cret" not in repr(failed)


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@pytest.mark.parametrize(("kind", "healthy"), [("good", True), ("expiring", True), ("expired", False), ("wrong_name", False), ("self_signed", False), ("incomplete", False)])  # fmt: skip
def test_certificates(authority, kind, healthy):
    with TlsServer(authority.leaf("localhost", kind)) as server:
        config = {"url": f"https://localhost:{server.port}/", "ca": str(authority.root_file)}
        reading = read(http_check, config)
    assert reading.facts["healthy"] is healthy
    if healthy:
        assert reading.facts["tls_days_left"] == pytest.approx(60 if kind == "good" else 0.5, abs=0.1)
    else:
        assert reading.facts["error_class"] == "tls"
    if kind == "expired":
        assert reading.facts["tls_days_left"] < 0


def test_without_the_authority_a_certificate_is_not_trusted(authority):
    with TlsServer(authority.leaf("localhost")) as server:
        assert read(http_check, {"url": f"https://localhost:{server.port}/"}).facts["error_class"] == "tls"


def test_an_unusable_ca_is_an_error_of_the_check(tmp_path):
    with pytest.raises(Permanent, match="No such file"):
        read(http_check, {"url": "https://localhost/", "ca": str(tmp_path / "none.pem")})


@pytest.mark.parametrize(
    "config",
    [{}, {"url": "ftp://a/"}, {"url": "http://a/", "urls": ["http://b/"]}, {"urls": ["http://a/", "http://a/"]},
     {"url": "http://a/", "method": "POST"}, {"url": "http://a/", "expect_status": "ok"}, {"url": "http://a/", "tls": 1}],
)  # fmt: skip
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        Params.model_validate(config)


def test_settings_beside_urls_hold_for_those_without_their_own():
    urls = ["http://a/", {"url": "http://b/", "expectStatus": 404}]
    first, second = Params.model_validate({"urls": urls, "expect_status": "3xx", "timeout": "2s"}).targets
    assert (first.expect_status, second.expect_status) == (((300, 399),), ((404, 404),))
    assert first.timeout == second.timeout == 2

"""The webhook notifier against a server that keeps what it was sent."""

import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from quell.errors import Permanent, Transient
from quell.plugins.notifiers import webhook
from quell.ports import Connection, Message
from tests.fakes.serving import Fault, Reply
from tests.fakes.sink import FakeSink
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PAGE = Message(
    kind="page",
    incident="inc-42",
    title="Payments fail",
    text="12 % fail",
    severity="P1",
    service="payment",
    sections=(("Tried", ("restart payment",)),),
    findings=({"check": "db", "status": "critical"},),
)


def connection(fake: FakeSink, **more: object) -> Connection:
    return Connection(name="ops", type="webhook", url=f"{fake.url}/hook", **more)  # type: ignore[arg-type]


async def test_the_message_arrives_whole_and_signed() -> None:
    with FakeSink() as fake:
        here = connection(fake, password="shared", headers={"X-Team": "sre"})
        async with probe_over(here, key="run/page/1/-", clock=lambda: NOW) as probe:
            assert await webhook.send(PAGE, webhook.Params(target="webhook:ops"), probe) == "200 ok"
        (request,) = fake.received
    document = request.json()
    assert (document["schema_version"], document["incident"], document["kind"]) == (1, "inc-42", "page")
    assert document["sections"] == [["Tried", ["restart payment"]]]
    assert document["findings"] == [{"check": "db", "status": "critical"}]
    assert (request.headers["idempotency-key"], request.headers["x-team"]) == ("run/page/1/-", "sre")
    at = int(NOW.timestamp())
    wanted = hmac.new(b"shared", f"{at}.".encode() + request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-quell-signature"] == f"t={at},v1={wanted}"


async def test_without_a_secret_there_is_no_signature() -> None:
    with FakeSink() as fake:
        async with probe_over(connection(fake)) as probe:
            await webhook.send(PAGE, webhook.Params(), probe)
        assert "x-quell-signature" not in fake.received[0].headers


async def test_references_do_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSink() as fake:
        monkeypatch.setenv("HOOK", f"{fake.url}/hook?token=t0ken")
        monkeypatch.setenv("HOOK_KEY", "shared")
        async with probe_over() as probe:
            await webhook.send(PAGE, webhook.Params(url="env:HOOK", secret="env:HOOK_KEY"), probe)
        assert "x-quell-signature" in fake.received[0].headers


async def test_what_the_other_side_says_never_repeats_a_secret() -> None:
    with FakeSink() as fake:
        fake.reply = Reply.text("bad key shared for team tok3n", 403)
        here = connection(fake, password="shared", headers={"Authorization": "tok3n"})
        async with probe_over(here) as probe:
            with pytest.raises(Permanent, match="bad key ••• for team •••") as caught:
                await webhook.send(PAGE, webhook.Params(), probe)
    assert caught.value.error_class == "denied"


async def test_a_redirect_is_not_followed() -> None:
    with FakeSink() as fake:
        fake.reply = Reply(302, headers={"Location": f"{fake.url}/elsewhere"})
        async with probe_over(connection(fake)) as probe:
            with pytest.raises(Permanent, match="302"):
                await webhook.send(PAGE, webhook.Params(), probe)
        assert [request.path for request in fake.received] == ["/hook"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_pass_is_transient(status: int) -> None:
    with FakeSink() as fake:
        fake.inject(Fault.refuse(status, retry_after=2))
        async with probe_over(connection(fake)) as probe:
            with pytest.raises(Transient) as caught:
                await webhook.send(PAGE, webhook.Params(), probe)
    assert caught.value.retry_after == 2.0


async def test_a_metadata_address_is_refused_before_anything_is_sent() -> None:
    here = Connection(name="ops", type="webhook", url="http://169.254.169.254/latest")
    async with probe_over(here) as probe:
        with pytest.raises(Permanent) as caught:
            await webhook.send(PAGE, webhook.Params(), probe)
    assert caught.value.error_class == "denied"

"""The Slack notifier against a webhook that checks Block Kit as Slack does."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import Permanent, Transient
from quell.plugins.notifiers import slack
from quell.plugins.notifiers._post import retry_after
from quell.ports import Asked, Connection, Message
from quell.registry import Registry
from tests.fakes.blockkit import problems
from tests.fakes.serving import Fault
from tests.fakes.slack import FakeSlack
from tests.plugins.world import probe_over
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio

PAGE = Message(
    kind="page",
    incident="inc-42",
    title="Payment Service High Latency",
    text="P99 is 2.4 s & rising <!channel>",
    severity="P1",
    service="payment-service",
    url="https://quell.example/incidents/inc-42",
    status="escalated",
    sections=(("Recommended actions", ("roll back payment-service", "page <@U1>")),),
    findings=(
        {"check": "db", "name": "Connection Pool", "status": "critical", "message": "92 of 100 used"},
        {"check": "errors", "name": "Error Rate", "status": "warning", "message": ""},
        {"check": "pods", "status": "healthy"},
        {"check": "deploy", "name": "Recent Deploy", "status": "no_data", "message": "no time in the output"},
        {"check": "logs", "name": "Logs", "status": "error"},
    ),
)


def connection(fake: FakeSlack, name: str = "slack") -> Connection:
    return Connection(name=name, type="slack", url=fake.webhook_url)


async def post(fake: FakeSlack, message: Message = PAGE, **params: Any) -> str:
    async with probe_over(connection(fake)) as probe:
        return await slack.send(message, slack.Params(**params), probe)


async def test_a_page_has_header_fields_findings_actions_and_a_button() -> None:
    with FakeSlack() as fake:
        assert await post(fake, target="#incidents-payment") == "ok"
        (message,) = fake.messages
    assert message.payload["channel"] == "#incidents-payment"
    header, fields, text, findings, actions, button, context = message.blocks
    assert header["text"]["text"] == "🔴 Payment Service High Latency"
    assert [field["text"] for field in fields["fields"]] == [
        "*Severity:*\nP1",
        "*Service:*\npayment-service",
        "*Status:*\nescalated",
    ]
    assert text["text"]["text"] == "P99 is 2.4 s &amp; rising &lt;!channel&gt;"
    assert findings["text"]["text"].splitlines() == [
        "*Diagnostics:*",
        "🔴 Connection Pool: critical — 92 of 100 used",
        "⚠️ Error Rate: warning",
        "✅ pods: healthy",
        "⚪ Recent Deploy: no data — no time in the output",
        "⚪ Logs: error",
    ]
    assert actions["text"]["text"].splitlines()[1:] == ["• roll back payment-service", "• page &lt;@U1&gt;"]
    assert button["elements"][0]["url"] == PAGE.url
    assert "inc-42" in context["elements"][0]["text"]
    assert message.text.startswith("🔴 *Payment Service High Latency*")


@pytest.mark.parametrize(("kind", "emoji"), [("resolved", "✅"), ("approval", "✋"), ("update", "ℹ️")])
async def test_the_kind_shows_at_once(kind: str, emoji: str) -> None:
    assert slack.fallback(dataclasses.replace(PAGE, kind=kind)).startswith(emoji)


@pytest.mark.parametrize("target", ["slack:sre", "#sre"])
async def test_the_connection_that_is_called_like_the_target_is_used(target: str) -> None:
    with FakeSlack(secret="first") as first, FakeSlack(secret="second") as second:
        async with probe_over(connection(first, "ops"), connection(second, "sre")) as probe:
            await slack.send(PAGE, slack.Params(target=target), probe)
        assert (len(first.messages), len(second.messages)) == (0, 1)
        assert second.messages[0].payload.get("channel") == (target if target == "#sre" else None)


async def test_the_address_may_be_a_secret_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSlack() as fake:
        monkeypatch.setenv("HOOK", fake.webhook_url)
        async with probe_over() as probe:
            assert await slack.send(PAGE, slack.Params(url="env:HOOK"), probe) == "ok"


@pytest.mark.parametrize(
    ("word", "error_class"),
    [("no_service", "missing"), ("invalid_token", "denied"), ("channel_is_archived", "missing")],
)
async def test_a_refusal_is_permanent_in_slacks_own_word(word: str, error_class: str) -> None:
    with FakeSlack() as fake:
        fake.fail_with(word)
        with pytest.raises(Permanent, match=word) as caught:
            await post(fake)
    assert caught.value.error_class == error_class
    assert "secret" not in str(caught.value)


async def test_too_many_requests_say_when_to_come_back() -> None:
    with FakeSlack() as fake:
        fake.inject(Fault.refuse(429, retry_after=7))
        with pytest.raises(Transient, match="429") as caught:
            await post(fake)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("fault", [Fault.refuse(503), Fault.cut(), Fault.cut(midway=True)])
async def test_what_may_pass_is_transient(fault: Fault) -> None:
    with FakeSlack() as fake:
        fake.inject(fault)
        with pytest.raises(Transient) as caught:
            await post(fake)
    assert "secret" not in str(caught.value)
    assert fake.webhook_url not in repr(caught.value.__dict__)


async def test_nobody_there_is_transient_and_keeps_the_address_secret() -> None:
    here = Connection(name="slack", type="slack", url=f"http://127.0.0.1:{free_port()}/services/T1/B1/secret")
    async with probe_over(here) as probe:
        with pytest.raises(Transient) as caught:
            await slack.send(PAGE, slack.Params(), probe)
    assert caught.value.error_class == "unreachable"
    assert "secret" not in str(caught.value)


async def test_an_address_that_is_none_is_permanent() -> None:
    async with probe_over(Connection(name="slack", type="slack", url="T1/B1/secret")) as probe:
        with pytest.raises(Permanent) as caught:
            await slack.send(PAGE, slack.Params(), probe)
    assert "secret" not in str(caught.value)


lines = st.lists(st.text(max_size=300) | st.just("&<>" * 200), max_size=80)


@given(
    title=st.text(max_size=400),
    text=st.text(max_size=200).map(lambda text: text * 40),
    service=st.text(max_size=3000),
    sections=st.lists(st.tuples(st.text(max_size=200), lines.map(tuple)), max_size=60),
    findings=st.lists(
        st.fixed_dictionaries({"check": st.text(max_size=50), "status": st.text(max_size=9), "message": st.text()}),
        max_size=70,
    ),
    url=st.sampled_from(["", "https://q/" + "x" * 4000, "javascript:alert(1)", "https://q/1"]),
)
def test_no_message_breaks_slacks_limits(**fields: Any) -> None:
    fields["sections"], fields["findings"] = tuple(fields["sections"]), tuple(fields["findings"])
    message = dataclasses.replace(PAGE, **fields)
    assert problems(slack.blocks(message)) == []
    assert len(slack.fallback(message)) <= 4000


async def test_lines_that_do_not_fit_are_counted() -> None:
    many = dataclasses.replace(PAGE, sections=(("Log", tuple(f"line {n}" for n in range(100))),))
    (text,) = [b["text"]["text"] for b in slack.blocks(many) if b["type"] == "section" and "line 1" in str(b)]
    assert text.splitlines()[-1] == "… and 60 more"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("Wed, 04 Mar 2026 05:00:30 GMT", 30.0),
        ("Wed, 04 Mar 2026 04:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, datetime(2026, 3, 4, 5, 0, 0, tzinfo=UTC)) == seconds


def test_the_registry_finds_it_with_its_prefixes() -> None:
    assert Registry().notifier("slack").prefixes == ("#", "slack:")


ASKED = Asked(
    approval="a1b2c3d4e5f6", asks="approval", call="kubectl rollout undo ```<!here>```", targets=("payment", "ledger"),
    before="v42", after="v41", clauses=("errors.critical → true",), impact="Errors: critical", history="never done before",
    undo="cannot be undone", silence="expires at noon", whom="dba", answer=("quell approve a1b2c3d4e5f6",),
)  # fmt: skip


async def test_what_is_asked_comes_before_the_evidence_and_nothing_ends_its_block() -> None:
    with FakeSlack() as fake:
        assert await post(fake, dataclasses.replace(PAGE, kind="approval", asked=ASKED)) == "ok"
        (message,) = fake.messages
    texts = [block["text"]["text"] for block in message.blocks if block["type"] == "section" and "text" in block]
    assert texts[:3] == [
        "*Approve this?*",
        "*Call:*\n```kubectl rollout undo '''&lt;!here&gt;'''```",
        "*Targets:*\n• payment\n• ledger",
    ]
    assert texts[11].startswith("*Diagnostics:*")
    assert "Decide" in str(message.blocks[-2])


@pytest.mark.parametrize("sign", ["x", "&", "`"])
async def test_the_longest_request_fits(sign: str) -> None:
    line = sign * 2500
    big = Asked(
        approval="a", asks="step", call=line, targets=(line,) * 50, before=line, after=line, clauses=(line,) * 50,
        impact=line, history=line, undo=line, risk="high", instructions=line, whom=line, silence=line, answer=(line,) * 9,
    )  # fmt: skip
    message = dataclasses.replace(PAGE, kind="approval", asked=big, sections=PAGE.sections * 60)
    assert problems(slack.blocks(message)) == []
    with FakeSlack() as fake:
        assert await post(fake, message) == "ok"

"""The certificates of Amazon SNS: fetched over a real socket, looked at, kept while they are good."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from quell.errors import Permanent, Transient
from quell.plugins.sources import _certificates
from quell.plugins.sources.cloudwatch import Params, answer, prove
from tests.fakes.serving import Fault
from tests.fakes.sns import PEM, TOPIC, FakeSns, certificate, confirmation, headers, notification, rsa_key
from tests.plugins.sources.bodies import sent
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio


async def proven(message: dict[str, Any], probe: Any, **params: Any) -> str | None:
    return await prove(headers(message), sent(message), Params(topics=[TOPIC], **params), probe)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_signature_is_the_one_of_the_certificate(version: str) -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            for message in (notification(version=version, origin=sns.url), confirmation(origin=sns.url)):
                assert await proven(message, probe, endpoint=sns.url) is None
            stranger = notification(version=version, origin=sns.url, key=rsa_key(1))
            assert await proven(stranger, probe, endpoint=sns.url) == _certificates.UNSIGNED


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "SignatureVersion"])
async def test_a_field_that_was_changed_is_noticed(name: str) -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            message = notification(origin=sns.url)
            changed = {**message, name: "2" if name == "SignatureVersion" else message[name] + " "}
            assert await proven(changed, probe, endpoint=sns.url) == _certificates.UNSIGNED
            without = {key: value for key, value in message.items() if key != "Subject"}
            assert await proven(without, probe, endpoint=sns.url) == _certificates.UNSIGNED


@pytest.mark.parametrize("name", ["Token", "SubscribeURL", "TopicArn"])
async def test_a_confirmation_that_was_changed_is_noticed(name: str) -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            message = confirmation(origin=sns.url)
            assert await proven({**message, name: message[name] + "x"}, probe, endpoint=sns.url)


async def test_a_notification_is_no_confirmation_of_the_same_words() -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            message = {**confirmation(origin=sns.url), "Type": "UnsubscribeConfirmation"}
            assert await proven(message, probe, endpoint=sns.url) == _certificates.UNSIGNED


async def test_a_storm_asks_for_the_certificate_once() -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            storm = [notification(origin=sns.url) for _ in range(30)]
            assert set(await asyncio.gather(*(proven(one, probe, endpoint=sns.url) for one in storm))) == {None}
        assert sns.fetched == [PEM]


async def test_a_certificate_is_asked_for_again_when_its_time_is_over() -> None:
    now = datetime.now(UTC)
    moment = now
    with FakeSns(certificate(until=1.5)) as sns:
        async with probe_over(clock=lambda: moment) as probe:
            kept, url = _certificates.Certificates(), sns.url + PEM
            for after, asked in ((0, 1), (23, 1), (25, 2), (35, 2)):
                moment = now + timedelta(hours=after)
                await kept.at(url, probe)
                assert len(sns.fetched) == asked, after
            moment = now + timedelta(hours=36)
            with pytest.raises(_certificates.Unfit, match="expired"):
                await kept.at(url, probe)


async def test_not_more_than_a_few_are_kept() -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            kept = _certificates.Certificates()
            names = [f"/SimpleNotificationService-{number}.pem" for number in range(_certificates.MOST_KEPT + 1)]
            sns.certificates |= dict.fromkeys(names, sns.certificates[PEM])
            for name in (*names, names[-1], names[0]):
                await kept.at(sns.url + name, probe)
            assert sns.fetched == [*names, names[0]]
            assert len(kept._kept) == _certificates.MOST_KEPT


@pytest.mark.parametrize(("since", "until", "why"), [(-9, -1, "expired"), (1, 9, "not valid before")])
async def test_a_certificate_that_is_not_good_now_is_refused_and_not_kept(since: float, until: float, why: str) -> None:
    with FakeSns(certificate(since=since, until=until)) as sns:
        async with probe_over() as probe:
            message = notification(origin=sns.url)
            assert why in (await proven(message, probe, endpoint=sns.url) or "")
            sns.certificates[PEM] = certificate()
            assert await proven(message, probe, endpoint=sns.url) is None, "the good one is asked for"


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa_key(2, 1024)], ids=["EC", "1024 bits"])
async def test_a_key_that_sns_does_not_have_is_refused(key: Any) -> None:
    with FakeSns(certificate(key)) as sns:
        async with probe_over() as probe:
            assert "not RSA" in (await proven(notification(origin=sns.url), probe, endpoint=sns.url) or "")


@pytest.mark.parametrize(
    "fault",
    [Fault.refuse(500), Fault.refuse(404), Fault.refuse(301), Fault.refuse(203), Fault.cut(), Fault.cut(midway=True),
     Fault.malformed(b"<html>"), Fault.malformed(b""), Fault.malformed(certificate() + b"\n" * 70_000)],
    ids=["500", "404", "301", "203", "cut", "midway", "html", "empty", "large"],
)  # fmt: skip
async def test_while_it_cannot_be_had_nobody_can_tell(fault: Fault) -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            sns.inject(fault)
            message = notification(origin=sns.url)
            with pytest.raises(Transient):
                await proven(message, probe, endpoint=sns.url)
            assert await proven(message, probe, endpoint=sns.url) is None, "and then it can"


async def test_nobody_there_is_told() -> None:
    with FakeSns() as gone:
        url = gone.url
    async with probe_over() as probe:
        with pytest.raises(Transient, match="connection refused"):
            await proven(notification(origin=url), probe, endpoint=url)


async def test_the_guard_against_internal_addresses_holds_here_too() -> None:
    url = "http://169.254.169.254"
    async with probe_over() as probe:
        with pytest.raises(Permanent, match="metadata"):
            await proven(notification(origin=url), probe, endpoint=url)


async def test_only_so_many_wait_for_one() -> None:
    async with probe_over() as probe:
        kept = _certificates.Certificates()
        async with kept._turn:
            waiting = [
                asyncio.create_task(kept.at(f"http://127.0.0.1:9/{number}", probe))
                for number in range(_certificates.MOST_WAITING)
            ]
            await asyncio.sleep(0)
            with pytest.raises(Transient, match="too many"):
                await kept.at("http://127.0.0.1:9/more", probe)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert kept._waiting == 0


async def test_a_certificate_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sns.pem"
    async with probe_over() as probe:
        message = notification(SigningCertURL="http://localhost:4566/_aws/sns/x.pem")
        with pytest.raises(Permanent, match="No such file"):
            await proven(message, probe, certificate=str(path))
        path.write_bytes(b"nothing")
        with pytest.raises(Permanent, match="none in PEM"):
            await proven(message, probe, certificate=str(path))
        path.write_bytes(certificate(until=-1))
        assert "expired" in (await proven(message, probe, certificate=str(path)) or "")
        path.write_bytes(certificate())
        assert await proven(message, probe, certificate=str(path)) is None


# What is answered.


async def test_a_subscription_is_confirmed_where_it_should_be() -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            message = confirmation(origin=sns.url, Token="t0k")
            params = Params(topics=[TOPIC], endpoint=sns.url)
            noted = await answer(headers(message), sent(message), params, probe)
            assert (noted, sns.confirmed) == (f"confirmed the subscription to {TOPIC}", [(TOPIC, "t0k")])
            sns.inject(Fault.refuse(403))
            with pytest.raises(Transient, match="HTTP 403"):
                await answer(headers(message), sent(message), params, probe)


async def test_the_end_of_a_subscription_is_noted_and_nothing_is_done() -> None:
    with FakeSns() as sns:
        async with probe_over() as probe:
            message = confirmation("UnsubscribeConfirmation", origin=sns.url)
            params = Params(topics=[TOPIC], endpoint=sns.url)
            assert "nothing was done" in (await answer(headers(message), sent(message), params, probe) or "")
        assert sns.requests == []

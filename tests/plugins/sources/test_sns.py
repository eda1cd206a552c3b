"""Envelopes of Amazon SNS: every way of forging one is refused before anybody is asked anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import InvalidInput
from quell.plugins.sources import _sns
from quell.plugins.sources.cloudwatch import Params, refused, verify
from tests.fakes.sns import AMAZON, PEM, TOPIC, confirmation, headers, notification, stamp, string_to_sign
from tests.plugins.sources.bodies import damaged, sent, values

PARAMS = Params(topics=[TOPIC])
EVIL = "https://evil.example"
OTHER = TOPIC.replace("ops-alarms", "other")


def said(message: dict[str, Any], *, params: Params = PARAMS, **header: str) -> str | None:
    return verify({**headers(message), **header}, sent(message), params)


@pytest.mark.parametrize("version", ["1", "2"])
def test_what_sns_sends_is_worth_a_look(version: str) -> None:
    for message in (notification(version=version), notification(version=version, Subject=None), confirmation()):
        assert said(message) is None
    assert said(confirmation("UnsubscribeConfirmation")) is None


@pytest.mark.parametrize("make", [notification, confirmation], ids=["notification", "confirmation"])
def test_what_is_signed_is_what_sns_signs(make: Any) -> None:
    for message in (make(), make(Message="a\nb é \U0001f525\t")):
        assert _sns.message(sent(message)).signed == string_to_sign(message)
    without = notification(Subject=None)
    assert _sns.message(sent(without)).signed == string_to_sign(without)
    assert _sns.message(sent({**without, "Subject": None})).signed == string_to_sign(without)


def test_a_region_has_its_own_address_and_china_another() -> None:
    assert _sns.amazon(TOPIC) == "https://sns.eu-west-1.amazonaws.com"
    assert _sns.amazon("arn:aws-cn:sns:cn-north-1:210987654321:a") == "https://sns.cn-north-1.amazonaws.com.cn"
    assert _sns.amazon("arn:aws-us-gov:sns:us-gov-west-1:210987654321:a") == "https://sns.us-gov-west-1.amazonaws.com"


BAD_CERTIFICATES = {
    "another host": EVIL + PEM,
    "http": AMAZON.replace("https", "http") + PEM,
    "a port": AMAZON + ":8443" + PEM,
    "the default port, written out": AMAZON + ":443" + PEM,
    "the host as a user": f"{AMAZON}@evil.example{PEM}",
    "the host as a user with a password": f"{AMAZON}:x@evil.example{PEM}",
    "a user": f"https://me@sns.eu-west-1.amazonaws.com{PEM}",
    "the host as a beginning": f"{AMAZON}.evil.example{PEM}",
    "the host as an end": f"https://evilsns.eu-west-1.amazonaws.com{PEM}",
    "another region": f"https://sns.us-east-1.amazonaws.com{PEM}",
    "another partition": f"{AMAZON}.cn{PEM}",
    "another service": f"https://s3.eu-west-1.amazonaws.com{PEM}",
    "capitals": AMAZON.upper() + PEM,
    "another path": AMAZON + "/bucket/cert.pem",
    "a path above": AMAZON + "/x/.." + PEM,
    "a path below": AMAZON + "/SimpleNotificationService-a/../b.pem",
    "an encoded slash": AMAZON + "/SimpleNotificationService-a%2fb.pem",
    "a query": AMAZON + PEM + "?x=.pem",
    "a query before": AMAZON + "/?x=" + PEM,
    "a fragment": AMAZON + PEM + "#.pem",
    "a backslash": f"{AMAZON}\\@evil.example{PEM}",
    "a line behind": AMAZON + PEM + "\n",
    "a tab inside": AMAZON.replace("sns", "s\tns") + PEM,
    "a path alone": PEM,
    "another end": AMAZON + PEM[:-4] + ".crt",
    "nothing": "",
    "a file": "file:///etc/passwd",
    "metadata": "http://169.254.169.254/SimpleNotificationService-a.pem",
}


@pytest.mark.parametrize("url", BAD_CERTIFICATES.values(), ids=BAD_CERTIFICATES)
def test_a_certificate_from_elsewhere_is_never_asked_for(url: str) -> None:
    why = said(notification(SigningCertURL=url))
    assert why is not None
    assert why.startswith("SigningCertURL: ")
    assert said(notification(SigningCertURL=AMAZON + PEM)) is None, "and the right one is"


QUERY = f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0k"
BAD_SUBSCRIBE_URLS = {
    "another host": f"{EVIL}/?{QUERY}",
    "http": f"{AMAZON.replace('https', 'http')}/?{QUERY}",
    "a port": f"{AMAZON}:8443/?{QUERY}",
    "the host as a user": f"{AMAZON}@evil.example/?{QUERY}",
    "the host as a beginning": f"{AMAZON}.evil.example/?{QUERY}",
    "another region": f"https://sns.us-east-1.amazonaws.com/?{QUERY}",
    "a path": f"{AMAZON}/x?{QUERY}",
    "two slashes": f"{AMAZON}//?{QUERY}",
    "no query": f"{AMAZON}/",
    "a fragment": f"{AMAZON}/?{QUERY}#x",
    "another action": f"{AMAZON}/?{QUERY}".replace("ConfirmSubscription", "DeleteTopic"),
    "two actions": f"{AMAZON}/?{QUERY}&Action=DeleteTopic",
    "another topic": f"{AMAZON}/?{QUERY}".replace(TOPIC, OTHER),
    "no topic": f"{AMAZON}/?Action=ConfirmSubscription&Token=t0k",
    "another token": f"{AMAZON}/?{QUERY}x",
    "something more": f"{AMAZON}/?{QUERY}&AuthenticateOnUnsubscribe=true",
    "many": f"{AMAZON}/?{QUERY}" + "&a=b" * 20,
    "a blank": f"{AMAZON}/?{QUERY} ",
    "much": f"{AMAZON}/?{QUERY}" + "x" * 5_000,
    "nothing": "",
}


@pytest.mark.parametrize("url", BAD_SUBSCRIBE_URLS.values(), ids=BAD_SUBSCRIBE_URLS)
def test_nothing_but_the_confirmation_is_ever_fetched(url: str) -> None:
    why = said(confirmation(SubscribeURL=url, Token="t0k"))
    assert why is not None
    assert "SubscribeURL" in why or "fields" in why


@pytest.mark.parametrize("path", ["", "/"])
def test_a_confirmation_is_put_together_anew(path: str) -> None:
    message = _sns.message(sent(confirmation(SubscribeURL=f"{AMAZON}{path}?{QUERY}", Token="t0k")))
    made = _sns.confirm_url(message, None)
    assert made == f"{AMAZON}/?Action=ConfirmSubscription&TopicArn={TOPIC.replace(':', '%3A')}&Token=t0k"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"TopicArn": OTHER}, "none of those that are configured"),
        ({"TopicArn": TOPIC + "\n"}, "none of those that are configured"),
        ({"TopicArn": "x"}, "none of those that are configured"),
        ({"SignatureVersion": "3"}, "version"),
        ({"SignatureVersion": "1 "}, "version"),
        ({"Timestamp": stamp(7_200)}, "ago"),
        ({"Timestamp": stamp(-7_200)}, "ahead"),
        ({"Timestamp": "now"}, "Timestamp"),
        ({"Timestamp": ""}, "Timestamp"),
        ({"Timestamp": "0001-01-01T00:00:00Z"}, "Timestamp"),
        ({"Timestamp": "9999-12-31T23:59:59-23:59"}, "Timestamp"),
    ],
)
def test_a_field_that_cannot_be_right_is_refused(more: dict[str, str], why: str) -> None:
    found = said({**notification(), **more})
    assert found is not None
    assert why in found


@pytest.mark.parametrize("signature", ["", "é", "====", "a", "AAAA AAAA"])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    assert "signature" in (said({**notification(), "Signature": signature}) or "").lower() or signature == "é"
    assert said({**notification(), "Signature": signature}) is not None


@pytest.mark.parametrize(("ago", "good"), [(0, True), (3_599, True), (3_601, False), (-899, True), (-901, False)])
def test_a_message_is_worth_a_look_for_an_hour(ago: float, good: bool) -> None:
    message = notification(Timestamp="2026-03-04T05:00:00.000Z")
    now = datetime(2026, 3, 4, 5, tzinfo=UTC) + timedelta(seconds=ago)
    assert (refused(headers(message), sent(message), PARAMS, now) is None) is good


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "", "notification", "\xff"])
def test_header_and_body_must_say_the_same(kind: str) -> None:
    found = said(notification(), **{"x-amz-sns-message-type": kind})
    assert found is not None
    assert "x-amz-sns-message-type" in found
    assert verify({}, sent(notification()), PARAMS), "nor without the header"


def test_headers_are_found_however_they_are_written() -> None:
    message = notification()
    assert verify({name.upper(): value for name, value in headers(message).items()}, sent(message), PARAMS) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"Notification"', b'{"Type": "Notification"}', b'{"Type": ["Notification"]}']
)
def test_what_is_no_envelope_is_refused_and_said(body: bytes) -> None:
    assert (verify({}, body, PARAMS) or "").startswith("no message of Amazon SNS: ")
    with pytest.raises(InvalidInput) as caught:
        _sns.message(body)
    assert caught.value.problems


def test_every_field_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        _sns.message(b'{"Type": "SubscriptionConfirmation", "Token": 5, "Subject": 7}')
    assert [problem.path for problem in caught.value.problems] == [
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn",
        "SignatureVersion", "Signature", "SigningCertURL",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "topic",
    ["", "alarms", "arn:aws:sqs:eu-west-1:210987654321:a", "arn:aws:sns:eu-west-1:1:a", "arn:aws:sns:*:210987654321:a",
     TOPIC + "*", TOPIC + "\n", TOPIC + ":c9135db0", "arn:aws:sns:evil.example/:210987654321:a"],
)  # fmt: skip
def test_a_topic_is_an_arn(topic: str) -> None:
    with pytest.raises(ValueError, match="no ARN of a topic"):
        Params(topics=[topic])


@pytest.mark.parametrize(
    "endpoint",
    ["", "sns.example", "https://", "https://a@b", "https://a/", "https://a?x", "https://a:b", "ftp://a", "http://a\n"],
)
def test_an_endpoint_is_a_scheme_and_a_host(endpoint: str) -> None:
    with pytest.raises(ValueError, match="no scheme and host"):
        Params(topics=[TOPIC], endpoint=endpoint)


def test_another_endpoint_takes_the_place_of_amazons() -> None:
    there = Params(topics=[TOPIC], endpoint="http://127.0.0.1:4566")
    assert said(notification(origin="http://127.0.0.1:4566"), params=there) is None
    assert said(notification(), params=there) is not None
    assert said(confirmation(origin="http://127.0.0.1:4566"), params=there) is None


FIELDS = st.sampled_from([*notification(), "Token", "SubscribeURL"])


@given(st.dictionaries(FIELDS, values, min_size=1, max_size=3), st.sampled_from([notification, confirmation]))
def test_no_field_raises_anything(fields: dict[str, Any], make: Any) -> None:
    message = {**make(), **fields}
    found = verify(headers(make()), sent(message), PARAMS)
    assert found is None or found


@given(damaged(notification()), damaged(confirmation()))
def test_no_damage_raises_anything(first: bytes, second: bytes) -> None:
    for body in (first, second):
        for kind in _sns.SIGNED:
            found = verify({"x-amz-sns-message-type": kind}, body, PARAMS)
            assert found is None or found

"""A message of Amazon SNS over HTTP(S): its envelope, what of it is signed, and where its addresses may lead.

Where a message may lead us is said by our own configuration, never by the message: its addresses are compared with
what the pinned topic allows, letter by letter, before anything is fetched.
Format: docs.aws.amazon.com/sns/latest/dg, "Parsing message formats" and "Verifying the signatures of messages".
Never does: fetch anything, look at a signature, know what a message is about.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from pydantic import AfterValidator

from quell.errors import InvalidInput, Problem
from quell.plugins.sources import _body
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._credentials import header
from quell.plugins.sources._fields import Bad, time

NOTIFICATION, SUBSCRIPTION, UNSUBSCRIPTION = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"
_CONFIRMED = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: Mapping[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: _CONFIRMED,
    UNSUBSCRIPTION: _CONFIRMED,
}
"""The fields that are signed by the type of message, in the order in which they are: by their bytes."""
_OPTIONAL = frozenset({"Subject"})
_ENVELOPE = ("SignatureVersion", "Signature", "SigningCertURL")
VERSIONS = ("1", "2")
TYPE_HEADER, ID_HEADER = "x-amz-sns-message-type", "x-amz-sns-message-id"
TOPIC_HEADER, RAW_HEADER = "x-amz-sns-topic-arn", "x-amz-sns-rawdelivery"
OLDEST, AHEAD = timedelta(hours=1), timedelta(minutes=15)
"""How old a message may be: for an hour SNS goes on trying. And how far its clock may be ahead of ours."""
MOST_URL = 4_096
_TOPIC = re.compile(r"arn:(aws(?:-[a-z]{1,16}){0,3}):sns:([a-z0-9-]{1,32}):([0-9]{12}):([A-Za-z0-9_-]{1,256})")
_ENDPOINT = re.compile(r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,128}\.pem")
_CONFIRM = re.compile(r"/?\?([!-\"$-~]+)")
"""The query behind no path or ``/``: printable ASCII, without a fragment."""


def topic_arn(value: str) -> str:
    """Raises ValueError."""
    if not _TOPIC.fullmatch(value):
        raise ValueError(
            f"no ARN of a topic: {value[:64]!r}; write one such as arn:aws:sns:eu-west-1:123456789012:alarms"
        )
    return value


def endpoint_url(value: str) -> str:
    """Raises ValueError."""
    if not _ENDPOINT.fullmatch(value):
        raise ValueError(
            f"no scheme and host: {value[:64]!r}; write them such as https://sns.example or http://[::1]:4566"
        )
    return value


TopicArn = Annotated[str, AfterValidator(topic_arn)]
Endpoint = Annotated[str, AfterValidator(endpoint_url)]


def region_of(topic: str) -> str:
    """Of the ARN of a topic; empty when it is none."""
    found = _TOPIC.fullmatch(topic)
    return found[2] if found else ""


def amazon(topic: str) -> str:
    """Scheme and host of Amazon's own endpoint for a pinned topic."""
    found = _TOPIC.fullmatch(topic)
    assert found, "a pinned topic is an ARN"
    return f"https://sns.{found[2]}.amazonaws.com" + (".cn" if found[1] == "aws-cn" else "")


@dataclass(frozen=True, slots=True)
class Message:
    """An envelope with all the fields that its type has, each a text. Nothing of it is proven."""

    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    @property
    def type(self) -> str:
        return self.fields["Type"]

    @property
    def topic(self) -> str:
        return self.fields["TopicArn"]

    @property
    def signed(self) -> bytes:
        """What the signature is over: each name and each value on a line of its own, what is not there left out."""
        there = (name for name in SIGNED[self.type] if name in self.fields)
        return "".join(f"{name}\n{self.fields[name]}\n" for name in there).encode()

    @property
    def signature(self) -> bytes:
        """Raises ValueError."""
        return base64.b64decode(self.fields["Signature"], validate=True)


def message(body: bytes) -> Message:
    """Raises ``InvalidInput`` with every field that is missing or no text."""
    document = _body.document(body)
    kind = document.get("Type")
    if not isinstance(kind, str) or kind not in SIGNED:
        found = short(kind) if "Type" in document else "nothing"
        raise InvalidInput(
            [Problem("Type is none of SNS's", "type", path="Type", found=found, expected=" or ".join(SIGNED))]
        )
    names = (*SIGNED[kind], *_ENVELOPE)
    if problems := list(_flaws(document, names)):
        raise InvalidInput(problems)
    return Message({name: document[name] for name in names if document.get(name) is not None})


def _flaws(document: Mapping[str, Any], names: Collection[str]) -> Iterator[Problem]:
    for name in names:
        value = document.get(name)
        if value is None and name in _OPTIONAL:
            continue
        if not isinstance(value, str):
            found = kind_of(value) if name in document else "nothing"
            yield Problem(f"{name} must be a text", "type", path=name, found=found, expected="text")


def refused(
    message: Message, headers: Mapping[str, str], topics: Collection[str], now: datetime, *,
    endpoint: str | None = None, fetches: bool = True,
) -> str | None:  # fmt: skip
    """Why a message is refused without asking anybody; None when its signature is worth a look.

    ``endpoint``: whose addresses may be fetched, when it is not Amazon's. ``fetches``: whether the certificate will be.
    """
    given = header(headers, TYPE_HEADER)
    if given != message.type:
        return f"the header {TYPE_HEADER} says {short(given)}, and the message {short(message.type)}"
    if message.topic not in topics:
        return f"the topic {short(message.topic)} is none of those that are configured"
    if message["SignatureVersion"] not in VERSIONS:
        return f"the signature's version is {short(message['SignatureVersion'])}, not 1 or 2"
    try:
        if fetches:
            certificate_url(message, endpoint)
        if message.type == SUBSCRIPTION:
            confirm_url(message, endpoint)
        if not message.signature:
            return "the signature is empty"
        moment = time("Timestamp", message["Timestamp"])
    except binascii.Error:
        return "the signature is not base64"
    except ValueError as error:  # Bad is one, and tells the place as well
        return str(error)
    if moment is None:
        return "the Timestamp is empty"
    if now - moment > OLDEST:
        return f"the Timestamp is {(now - moment).total_seconds():.0f} s ago, more than {OLDEST.total_seconds():.0f} s"
    if moment - now > AHEAD:
        return f"the Timestamp is {(moment - now).total_seconds():.0f} s ahead, more than {AHEAD.total_seconds():.0f} s"
    return None


def certificate_url(message: Message, endpoint: str | None) -> str:
    """Where the certificate is. Raises ``Bad`` when that is not where a pinned topic's may be."""
    url, origin = message["SigningCertURL"], endpoint or amazon(message.topic)
    if not url.startswith(origin) or not _CERTIFICATE.fullmatch(url.removeprefix(origin)):
        raise Bad(f"SigningCertURL: {short(url)}, not {origin}/SimpleNotificationService-….pem")
    return url


def confirm_url(message: Message, endpoint: str | None) -> str:
    """What to fetch to confirm a subscription, put together anew. Raises ``Bad`` when the message asks for more."""
    url, origin = message["SubscribeURL"], endpoint or amazon(message.topic)
    found = _CONFIRM.fullmatch(url.removeprefix(origin)) if url.startswith(origin) and len(url) <= MOST_URL else None
    wanted = {"Action": "ConfirmSubscription", "TopicArn": message.topic, "Token": message["Token"]}
    if found is None:
        raise Bad(f"SubscribeURL: {short(url)}, not {origin}/?Action=ConfirmSubscription&…")
    asked = parse_qsl(found[1], keep_blank_values=True, max_num_fields=8)
    if sorted(asked) != sorted(wanted.items()):
        raise Bad(f"SubscribeURL: {short(url)}, not just this topic's Action=ConfirmSubscription with its Token")
    return f"{origin}/?{urlencode(wanted)}"

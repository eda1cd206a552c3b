"""CloudWatch alarms through Amazon SNS over HTTP(S): signed messages of the topics that the site names.

```yaml
sources: {cloudwatch: {topics: ['arn:aws:sns:eu-west-1:123456789012:alarms'], labels: {environment: production}}}
```

A message counts when its topic is one of ``topics``, it is at most an hour old and its signature (version 1 or 2) is
that of the certificate which Amazon serves for the topic's region. A certificate is fetched from
``https://sns.<region>.amazonaws.com/`` (in China ``.amazonaws.com.cn``) and nowhere else, and kept for a day; while it
cannot be had the answer is 503, and SNS sends again. A subscription to such a topic is confirmed by itself.

ALARM fires and OK resolves. Labels are ``alertname``, ``account``, ``region``, ``namespace``, ``metric`` and the
dimensions; of metric math and anomaly detection, what all metrics share. What is published to the topic and is no alarm
is quarantined.
Never does: believe what is not signed (unless ``raw`` says so), fetch what a stranger names, take too few data for OK.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from quell.errors import InvalidInput
from quell.incident.alert import AlertStatus
from quell.plugins.sources import _alarm, _body, _certificates, _credentials, _sns
from quell.plugins.sources._body import short
from quell.plugins.sources._group import Read, each
from quell.plugins.sources._labelled import Labelled
from quell.ports import Alert, Probe, at_fault

_MEANS: Mapping[str, AlertStatus | None] = {
    "left": None, "fires": AlertStatus.FIRING, "resolves": AlertStatus.RESOLVED,
}  # fmt: skip


class Params(Labelled):
    """``password`` is a secret reference: then SNS must send it besides, from a subscription to
    ``https://USER:PASSWORD@…``."""

    topics: Annotated[tuple[_sns.TopicArn, ...], Field(min_length=1, max_length=256)]
    """The ARNs of the topics whose messages count. Any other's are refused."""
    insufficient_data: Literal["left", "fires", "resolves"] = "left"
    """What INSUFFICIENT_DATA does to the alert. ``left``: nothing, and the answer notes it."""
    raw: bool = False
    """Whether a subscription with raw message delivery may post. Those messages are not signed, so it needs a
    ``password``."""
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None
    certificate: str | None = None
    """A PEM file with the certificate that signs, for private installations and tests; then none is fetched."""
    endpoint: _sns.Endpoint | None = None
    """Scheme and host, such as ``http://localhost:4566``, where certificates are fetched and subscriptions confirmed
    instead of at Amazon: for private installations and tests. Whoever answers there can sign alarms."""

    @model_validator(mode="after")
    def _somebody_vouches(self) -> Self:
        if self.raw and not self.password:
            raise at_fault(("raw",), "raw messages are not signed; give a password that the subscription sends")
        return self


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused without asking anybody, None when its signature is worth a look."""
    return refused(headers, body, params, datetime.now(UTC))


def refused(headers: Mapping[str, str], body: bytes, params: Params, now: datetime) -> str | None:
    """As ``verify``, at a moment."""
    if why := _credentials.token_or_password(headers, None, params.username, params.password):
        return why
    if _is_raw(headers, params):
        topic = _credentials.header(headers, _sns.TOPIC_HEADER)
        return None if topic in params.topics else f"the topic {short(topic)} is none of those that are configured"
    try:
        message = _sns.message(body)
    except InvalidInput as error:
        return f"no message of Amazon SNS: {error.problems[0].message}"
    return _sns.refused(
        message, headers, params.topics, now, endpoint=params.endpoint, fetches=params.certificate is None
    )


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known, once ``prove`` has nothing against it."""
    shown = _credentials.shown_by(headers, None, params.password)
    signed = "" if _is_raw(headers, params) else "signature of Amazon SNS verified"
    return " and ".join(part for part in (signed, shown) if part)


async def prove(headers: Mapping[str, str], body: bytes, params: Params, probe: Probe) -> str | None:
    """Why the message is not Amazon's, None when it is. Raises ``Transient``, ``Permanent`` while nobody can tell."""
    if _is_raw(headers, params):
        return None  # whoever knew the password sent it
    message = _sns.message(body)
    try:
        if params.certificate is not None:
            certificate = _certificates.in_file(params.certificate, probe.now())
        else:
            url = _sns.certificate_url(message, params.endpoint)
            certificate = await _certificates.kept_for(probe).at(url, probe)
    except _certificates.Unfit as error:
        return str(error)
    return _certificates.unsigned(certificate, message["SignatureVersion"], message.signed, message.signature)


async def answer(headers: Mapping[str, str], body: bytes, params: Params, probe: Probe) -> str | None:
    """Confirms a subscription. Says what the message was, None when it is about an alarm that ``parse`` will read."""
    if _is_raw(headers, params):
        return _left(body, params)
    message = _sns.message(body)
    if message.type == _sns.SUBSCRIPTION:
        await _certificates.fetch(_sns.confirm_url(message, params.endpoint), probe, "confirming the subscription")
        return f"confirmed the subscription to {message.topic}"
    if message.type == _sns.UNSUBSCRIPTION:
        return f"the subscription to {message.topic} has ended; nothing was done about it"
    return _left(message["Message"].encode(), params)


def _left(text: bytes, params: Params) -> str | None:
    try:
        document = _body.json_of(text)
    except InvalidInput:
        return None
    if _alarm.state(document) != _alarm.UNKNOWN or _MEANS[params.insufficient_data] is not None:
        return None
    return f"{short(document.get('AlarmName'))} has {_alarm.UNKNOWN}; its alert was left as it was"


def delivery(headers: Mapping[str, str], body: bytes) -> str | None:
    """The message's id, which is signed; of a raw message the header's. SNS sends it again as it was."""
    try:
        return _sns.message(body)["MessageId"] or None
    except InvalidInput:
        return _credentials.header(headers, _sns.ID_HEADER) or None


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """The alert, and what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the envelope."""
    details: dict[str, Any] = {}
    if _is_raw(headers, params):
        topic, path, document = _credentials.header(headers, _sns.TOPIC_HEADER), "body", _body.json_of(body)
    else:
        message = _sns.message(body)
        if message.type != _sns.NOTIFICATION:
            return [], []
        topic, path = message.topic, "Message"
        details["messageId"] = message["MessageId"][:256]
        try:
            document = _body.json_of(message["Message"].encode())
        except InvalidInput as error:
            return [], [(f"Message: {error.problems[0].message}", _body.fragment(dict(message.fields)))]
    details["topic"] = topic

    def alert(place: str, entry: Any) -> Alert | None:
        unknown = _MEANS[params.insufficient_data]
        read = _alarm.said(place, entry, _sns.region_of(topic), unknown, params)
        if read is None:
            return None
        read["details"] |= details
        return Alert(source="cloudwatch", received_at=received_at, **read)

    return each({path: document}, alert)


def _is_raw(headers: Mapping[str, str], params: Params) -> bool:
    return params.raw and _credentials.header(headers, _sns.RAW_HEADER).lower() == "true"

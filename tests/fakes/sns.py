"""A fake of Amazon SNS: signs messages as SNS does, serves the certificate, takes confirmations of subscriptions.

Source: Amazon SNS developer guide, "Verifying the signatures of Amazon SNS messages", "HTTP/HTTPS headers", and the
formats of its three messages. GET /SimpleNotificationService-<id>.pem serves a certificate; GET /?Action=
ConfirmSubscription answers as the query API does. What is signed is written out here by hand, so that it is not the
product's own idea of it.

It delivers nothing: a test posts what `notification` and `confirmation` make. Keys are made anew for each run.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import json
import uuid
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from tests.fakes.serving import FakeServer, Reply, Request

TOPIC = "arn:aws:sns:eu-west-1:210987654321:ops-alarms"
AMAZON = "https://sns.eu-west-1.amazonaws.com"
PEM = "/SimpleNotificationService-0a1b2c3d4e5f60718293a4b5c6d7e8f9.pem"
DAY = dt.timedelta(days=1)
Document = dict[str, Any]


@functools.cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key a number: making one takes a moment."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def certificate(key: Any = None, since: float = -30, until: float = 30) -> bytes:
    """In PEM, signed by a test authority; valid from and until, in days from now."""
    key = key or rsa_key()
    authority = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "quell test authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + DAY * since)
        .not_valid_after(now + DAY * until)
        .sign(authority, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def stamp(ago_s: float = 0.0) -> str:
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago_s)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def string_to_sign(message: Document) -> bytes:
    """By the guide: for a notification with a subject or without, for a confirmation."""
    if message["Type"] == "Notification":
        lines = ["Message", message["Message"], "MessageId", message["MessageId"]]
        if message.get("Subject") is not None:
            lines += ["Subject", message["Subject"]]
        lines += ["Timestamp", message["Timestamp"], "TopicArn", message["TopicArn"], "Type", message["Type"]]
    else:
        lines = ["Message", message["Message"], "MessageId", message["MessageId"]]
        lines += ["SubscribeURL", message["SubscribeURL"], "Timestamp", message["Timestamp"]]
        lines += ["Token", message["Token"], "TopicArn", message["TopicArn"], "Type", message["Type"]]
    return "".join(line + "\n" for line in lines).encode()


def signed(message: Document, key: rsa.RSAPrivateKey | None = None) -> Document:
    """With its signature, of the version that it says."""
    hashed = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
    signature = (key or rsa_key()).sign(string_to_sign(message), padding.PKCS1v15(), hashed)
    return {**message, "Signature": base64.b64encode(signature).decode()}


def alarm(state: str = "ALARM", name: str = "Orders API: 5xx", **more: Any) -> Document:
    """What CloudWatch publishes when an alarm on one metric changes its state."""
    return {
        "AlarmName": name, "AlarmDescription": "More than 2 % of orders fail", "AWSAccountId": "210987654321",
        "AlarmConfigurationUpdatedTimestamp": "2026-03-01T09:00:00.000+0000", "NewStateValue": state,
        "NewStateReason": "Threshold Crossed: 1 datapoint [41.0 (04/03/26 05:00:00)] was greater than the threshold (20.0).",
        "StateChangeTime": "2026-03-04T05:01:02.345+0000", "Region": "EU (Ireland)",
        "AlarmArn": f"arn:aws:cloudwatch:eu-west-1:210987654321:alarm:{name}",
        "OldStateValue": "ALARM" if state == "OK" else "OK", "OKActions": [TOPIC], "AlarmActions": [TOPIC],
        "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "HTTPCode_Target_5XX_Count", "Namespace": "AWS/ApplicationELB", "StatisticType": "Statistic",
            "Statistic": "SUM", "Unit": None,
            "Dimensions": [{"value": "app/orders/50dc6c495c0c9188", "name": "LoadBalancer"}],
            "Period": 60, "EvaluationPeriods": 1, "DatapointsToAlarm": 1,
            "ComparisonOperator": "GreaterThanThreshold", "Threshold": 20.0, "TreatMissingData": "notBreaching",
            "EvaluateLowSampleCountPercentile": "",
        },
        **more,
    }  # fmt: skip


def notification(
    message: Any = None, *, version: str = "1", origin: str = AMAZON, key: rsa.RSAPrivateKey | None = None, **more: Any
) -> Document:
    """A signed notification; `more` are fields that are there when it is signed, None leaves one out."""
    document = {
        "Type": "Notification", "MessageId": str(uuid.uuid4()), "TopicArn": TOPIC,
        "Subject": 'ALARM: "Orders API: 5xx" in EU (Ireland)',
        "Message": message if isinstance(message, str) else json.dumps(alarm() if message is None else message),
        "Timestamp": stamp(), "SignatureVersion": version, "SigningCertURL": origin + PEM,
        "UnsubscribeURL": f"{origin}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:c9135db0-26c4-47ec-8998-413945fb5a96",
        **more,
    }  # fmt: skip
    return signed({name: value for name, value in document.items() if value is not None}, key)


def confirmation(kind: str = "SubscriptionConfirmation", *, origin: str = AMAZON, **more: Any) -> Document:
    """A signed request to confirm that the endpoint wants the topic's messages, or that it wants them no more."""
    topic, token = more.get("TopicArn", TOPIC), more.get("Token", "2336412f37fb687f5d51e6e241d59b68c4e583a5cee0be6f95b")
    document = {
        "Type": kind, "MessageId": str(uuid.uuid4()), "Token": token, "TopicArn": topic,
        "Message": f"You have chosen to subscribe to the topic {topic}.\nTo confirm, visit the SubscribeURL.",
        "SubscribeURL": f"{origin}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}",
        "Timestamp": stamp(), "SignatureVersion": "1", "SigningCertURL": origin + PEM, **more,
    }  # fmt: skip
    return signed(document)


def headers(message: Document) -> dict[str, str]:
    """What comes with it."""
    return {
        "x-amz-sns-message-type": message["Type"], "x-amz-sns-message-id": message["MessageId"],
        "x-amz-sns-topic-arn": message["TopicArn"], "Content-Type": "text/plain; charset=UTF-8",
        "User-Agent": "Amazon Simple Notification Service Agent",
    }  # fmt: skip


class FakeSns(FakeServer):
    """`certificates` are served by their paths; `confirmed` holds the (topic, token) of each confirmation."""

    def __init__(self, pem: bytes | None = None) -> None:
        super().__init__()
        self.certificates: dict[str, bytes] = {PEM: pem or certificate()}
        self.confirmed: list[tuple[str, str]] = []

    @property
    def fetched(self) -> list[str]:
        """The paths of the certificates that somebody asked for."""
        return [request.path for request in self.requests if request.path.endswith(".pem")]

    def answer(self, request: Request) -> Reply:
        """A certificate, or the query API's answer to ConfirmSubscription."""
        if request.method == "GET" and request.path in self.certificates:
            return Reply(200, self.certificates[request.path], "application/x-pem-file")
        if request.method == "GET" and request.path == "/" and request.arg("Action") == "ConfirmSubscription":
            if set(request.query) != {"Action", "TopicArn", "Token"} or not request.arg("Token"):
                return Reply(
                    400, b"<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>", "text/xml"
                )
            topic = request.arg("TopicArn")
            self.confirmed.append((topic, request.arg("Token")))
            arn = f"<SubscriptionArn>{topic}:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55</SubscriptionArn>"
            result = f"<ConfirmSubscriptionResult>{arn}</ConfirmSubscriptionResult>"
            return Reply(
                200, f"<ConfirmSubscriptionResponse>{result}</ConfirmSubscriptionResponse>".encode(), "text/xml"
            )
        return Reply(404, b"<ErrorResponse/>", "text/xml")

"""CloudWatch's alarms: what becomes an alert, what is left or set aside, and the whole way in, over real sockets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from quell.errors import InvalidInput, Refused, Unavailable
from quell.incident.alert import AlertStatus, Severity
from quell.plugins.sources.cloudwatch import Params, answer, delivery, parse, verify
from quell.registry import Registry
from tests.app import house
from tests.fakes.serving import Fault
from tests.fakes.sns import PEM, TOPIC, FakeSns, alarm, certificate, confirmation, headers, notification, rsa_key
from tests.plugins.sources.bodies import (
    RECEIVED,
    Read,
    damaged,
    makes_and_ends_one_incident,
    or_refused,
    sent,
    values,
)
from tests.plugins.world import probe_over
from tests.web.house import House

OTHER = TOPIC.replace("ops-alarms", "other")


def read(document: Any, **params: Any) -> Read:
    """Of the alarm in a notification."""
    return parse(sent(notification(document)), {}, Params(topics=[TOPIC], **params), RECEIVED)


def watched(**more: Any) -> dict[str, Any]:
    """An alarm over several metrics."""
    document = alarm()
    document["Trigger"] = {"Period": 60, "EvaluationPeriods": 2, **more}
    return document


def query(id_: str, *dimensions: tuple[str, str], name: str = "Latency", namespace: str = "AWS/ELB") -> dict[str, Any]:
    given_ = [{"name": key, "value": value} for key, value in dimensions]
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": given_}
    return {"Id": id_, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "p99"}, "ReturnData": False}


# What becomes an alert.


def test_an_alarm_comes_through_with_all_it_says() -> None:
    (alert,), quarantined = read(alarm(), tenant="acme", labels={"severity": "critical", "service": "orders"})
    assert quarantined == []
    assert (alert.source, alert.name, alert.status) == ("cloudwatch", "Orders API: 5xx", AlertStatus.FIRING)
    assert alert.labels == {
        "alertname": "Orders API: 5xx", "account": "210987654321", "region": "eu-west-1",
        "namespace": "AWS/ApplicationELB", "metric": "HTTPCode_Target_5XX_Count",
        "LoadBalancer": "app/orders/50dc6c495c0c9188", "severity": "critical", "service": "orders",
    }  # fmt: skip
    assert (alert.tenant, alert.region, alert.service, alert.severity) == ("acme", "eu-west-1", "orders", Severity.P1)
    assert alert.fingerprint == "arn:aws:cloudwatch:eu-west-1:210987654321:alarm:Orders API: 5xx"
    assert alert.starts_at is not None
    assert (alert.starts_at.isoformat(), alert.ends_at) == ("2026-03-04T05:01:02.345000+00:00", None)
    assert alert.summary == "More than 2 % of orders fail"
    assert alert.annotations["description"].startswith("Threshold Crossed: 1 datapoint")
    assert alert.url == (
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:alarm/Orders%20API%3A%205xx"
    )
    assert (alert.details["state"], alert.details["OldStateValue"], alert.details["topic"]) == ("ALARM", "OK", TOPIC)
    assert alert.details["Trigger"]["Threshold"] == 20.0


def test_what_is_ok_again_is_the_same_alert_and_has_ended() -> None:
    (fired,), _ = read(alarm())
    (ended,), _ = read(alarm("OK"))
    assert (ended.status, ended.fingerprint) == (AlertStatus.RESOLVED, fired.fingerprint)
    assert (ended.starts_at, ended.ends_at) == (None, fired.starts_at)
    assert ended.labels == fired.labels


@pytest.mark.parametrize(
    ("meaning", "status"), [("fires", AlertStatus.FIRING), ("resolves", AlertStatus.RESOLVED), ("left", None)]
)
@pytest.mark.anyio
async def test_too_few_data_mean_what_the_site_says(meaning: str, status: AlertStatus | None) -> None:
    unknown = alarm("INSUFFICIENT_DATA")
    alerts, quarantined = read(unknown, insufficient_data=meaning)
    assert ([alert.status for alert in alerts], quarantined) == ([status] if status else [], [])
    message, params = notification(unknown), Params(topics=[TOPIC], insufficient_data=meaning)
    async with probe_over() as probe:
        noted = await answer(headers(message), sent(message), params, probe)
    assert (noted == '"Orders API: 5xx" has INSUFFICIENT_DATA; its alert was left as it was') is (status is None)


def test_too_few_data_are_left_unless_the_site_says_more() -> None:
    assert Params(topics=[TOPIC]).insufficient_data == "left"


def test_of_metric_math_what_all_metrics_share_are_labels() -> None:
    math = watched(
        Metrics=[
            {"Id": "e1", "Expression": "m1 / m2", "Label": "ratio", "ReturnData": True},
            query("m1", ("Cluster", "shop"), ("Task", "a")),
            query("m2", ("Cluster", "shop"), ("Task", "b"), name="Count"),
        ]
    )
    (alert,), _ = read(math)
    assert (alert.labels["namespace"], alert.labels["Cluster"]) == ("AWS/ELB", "shop")
    assert not {"metric", "Task"} & set(alert.labels)
    assert alert.details["Trigger"]["Metrics"][0]["Expression"] == "m1 / m2"


def test_an_anomaly_is_one_of_its_metric() -> None:
    band = {
        "Id": "ad1",
        "Expression": "ANOMALY_DETECTION_BAND(m1, 2)",
        "Label": "Latency (expected)",
        "ReturnData": True,
    }
    (alert,), _ = read(watched(ThresholdMetricId="ad1", Metrics=[query("m1", ("Cluster", "shop")), band]))
    assert (alert.labels["metric"], alert.labels["Cluster"]) == ("Latency", "shop")
    assert alert.details["Trigger"]["ThresholdMetricId"] == "ad1"


def test_a_composite_alarm_has_no_metric_and_keeps_its_rule() -> None:
    composite = alarm(AlarmRule="ALARM(a) AND ALARM(b)", TriggeringChildren=[{"Arn": "a"}])
    del composite["Trigger"]
    (alert,), _ = read(composite)
    assert set(alert.labels) == {"alertname", "account", "region"}
    assert alert.details["AlarmRule"] == "ALARM(a) AND ALARM(b)"


def test_names_of_dimensions_are_made_safe_and_never_take_a_place() -> None:
    dimensions = [
        ("Auto Scaling-Group", "g"),
        ("region", "moon"),
        ("1st", "x"),
        ("a.b", "1"),
        ("a-b", "2"),
        ("metric", "m"),
    ]
    trigger = {**alarm()["Trigger"], "Dimensions": [{"name": name, "value": value} for name, value in dimensions]}
    (alert,), _ = read(alarm(Trigger=trigger))
    assert alert.region == "eu-west-1"
    assert {name: value for name, value in alert.labels.items() if name not in ("alertname", "account", "namespace")} == {
        "region": "eu-west-1", "metric": "HTTPCode_Target_5XX_Count", "Auto_Scaling_Group": "g",
        "dimension_region": "moon", "_1st": "x", "a_b": "1", "dimension_a_b": "2", "dimension_metric": "m",
    }  # fmt: skip


@pytest.mark.parametrize("arn", [None, "", "arn:aws:cloudwatch:eu-west-1:210987654321:alarm:" + "n" * 255, "arn:\n:x"])
def test_an_alarm_without_a_short_arn_has_a_fingerprint_all_the_same(arn: str | None) -> None:
    (fired,), _ = read(alarm(AlarmArn=arn))
    (ended,), _ = read(alarm("OK", AlarmArn=arn))
    (other,), _ = read(alarm(name="Other", AlarmArn=arn and arn + "2"))
    assert fired.fingerprint == ended.fingerprint != other.fingerprint
    assert len(fired.fingerprint) == 16
    assert fired.region == "eu-west-1", "the topic's: Region is a name for people"


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [("aws", "us-east-1", "us-east-1.console.aws.amazon.com"), ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
     ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com")],
)  # fmt: skip
def test_the_link_leads_to_the_console_of_the_partition(partition: str, region: str, host: str) -> None:
    (alert,), _ = read(alarm(AlarmArn=f"arn:{partition}:cloudwatch:{region}:210987654321:alarm:x"))
    assert alert.region == region
    assert (alert.url or "").startswith(f"https://{host}/cloudwatch/home?region={region}#")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"AlarmName": None}, "Message.AlarmName: missing"),
        ({"AlarmName": ["x"]}, "Message.AlarmName: list, not a text"),
        ({"NewStateValue": "FINE"}, 'Message.NewStateValue: "FINE", not ALARM, OK, INSUFFICIENT_DATA'),
        ({"NewStateValue": None}, "Message.NewStateValue: null, not ALARM, OK, INSUFFICIENT_DATA"),
        ({"StateChangeTime": "soon"}, 'Message.StateChangeTime: "soon", not a time such as 2026-01-02T03:04:05Z'),
        ({"Trigger": []}, "Message.Trigger: list, not an object"),
        ({"Trigger": {"Metrics": {}}}, "Message.Trigger.Metrics: object, not a list"),
        ({"Trigger": {"MetricName": "x", "Dimensions": "y"}}, "Message.Trigger.Dimensions: text, not a list"),
        ({"Trigger": {"MetricName": "x", "Dimensions": [5]}}, "Message.Trigger.Dimensions[0]: number, not an object"),
        ({"Trigger": {"MetricName": "x", "Dimensions": [{}]}}, "Message.Trigger.Dimensions[0].name: missing"),
        (
            {"Trigger": {"MetricName": "x", "Dimensions": [{}] * 65}},
            "Message.Trigger.Dimensions: 65 entries, more than 64",
        ),
    ],
)
def test_an_alarm_that_is_wrong_is_set_aside_with_the_place(fields: dict[str, Any], reason: str) -> None:
    alerts, quarantined = read(alarm(**fields))
    assert (alerts, [said for said, _ in quarantined]) == ([], [reason])


@pytest.mark.parametrize(
    ("message", "reason"),
    [("the disk is full", "Message: not JSON"), ("[]", "Message: list, not an object"), ("", "Message: not JSON"),
     ("[" * 40 + "]" * 40, "Message: nested deeper"), ('{"detail": {}}', "Message.AlarmName: missing")],
)  # fmt: skip
def test_what_is_published_and_is_no_alarm_is_set_aside(message: str, reason: str) -> None:
    alerts, ((said, fragment),) = read(message)
    assert alerts == []
    assert said.startswith(reason)
    assert fragment is not None


def test_a_confirmation_is_no_alert() -> None:
    assert parse(sent(confirmation()), {}, Params(topics=[TOPIC]), RECEIVED) == ([], [])


# Raw message delivery.


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SNS_PASSWORD", "pa55word-of-sns")
    return "env:SNS_PASSWORD"


def raw(topic: str = TOPIC, word: str = "pa55word-of-sns") -> dict[str, str]:
    pair = base64.b64encode(f"sns:{word}".encode()).decode()
    return {
        "x-amz-sns-message-type": "Notification", "x-amz-sns-topic-arn": topic, "x-amz-sns-rawdelivery": "true",
        "Authorization": f"Basic {pair}",
    }  # fmt: skip


def test_raw_messages_need_a_password(password: str) -> None:
    with pytest.raises(ValidationError, match="not signed"):
        Params(topics=[TOPIC], raw=True)
    params = Params(topics=[TOPIC], raw=True, username="sns", password=password)
    assert verify(raw(), sent(alarm()), params) is None
    assert verify(raw(word="x"), sent(alarm()), params)
    assert verify(raw(topic=OTHER), sent(alarm()), params)
    assert verify({**raw(), "x-amz-sns-rawdelivery": "false"}, sent(alarm()), params)
    (alert,), _ = parse(sent(alarm()), raw(), params, RECEIVED)
    assert (alert.name, alert.details["topic"]) == ("Orders API: 5xx", TOPIC)
    (_,), _ = parse(sent(notification()), headers(notification()), params, RECEIVED)


def test_raw_messages_are_refused_unless_they_are_allowed(password: str) -> None:
    params = Params(topics=[TOPIC], username="sns", password=password)
    assert (verify(raw(), sent(alarm()), params) or "").startswith("no message of Amazon SNS")
    with pytest.raises(InvalidInput):
        parse(sent(alarm()), raw(), params, RECEIVED)


def test_with_a_password_a_signed_message_needs_it_too(password: str) -> None:
    message, params = notification(), Params(topics=[TOPIC], username="sns", password=password)
    assert verify(headers(message), sent(message), params)
    assert verify({**headers(message), "Authorization": raw()["Authorization"]}, sent(message), params) is None


# Whatever is posted.

KEYS = st.sampled_from([*alarm(), "AlarmRule"])
TRIGGER = st.sampled_from([*alarm()["Trigger"], "Metrics"])


@given(st.dictionaries(KEYS, values, max_size=3), st.dictionaries(TRIGGER, values, max_size=2), st.booleans())
def test_no_field_raises_anything_but_invalid_input(
    fields: dict[str, Any], trigger: dict[str, Any], math: bool
) -> None:
    document = alarm(**({"Trigger": {**alarm()["Trigger"], **trigger}} | fields))
    if math and isinstance(document["Trigger"], dict):
        document["Trigger"]["Metrics"] = [query("m1", ("a", "b")), trigger, *trigger.values()]
    message = {**notification(), "Message": json.dumps(document)}
    found = or_refused(lambda: parse(sent(message), {}, Params(topics=[TOPIC]), RECEIVED))
    assert found is None or len(found[0]) + len(found[1]) <= 1


@given(damaged(alarm()), damaged(notification()))
def test_no_damage_raises_anything_but_invalid_input(inner: bytes, outer: bytes) -> None:
    message = {**notification(), "Message": inner.decode("utf-8", "replace")}
    or_refused(lambda: parse(sent(message), {}, Params(topics=[TOPIC]), RECEIVED))
    or_refused(lambda: parse(outer, {}, Params(topics=[TOPIC]), RECEIVED))
    open_ = Params.model_construct(topics=(TOPIC,), raw=True)
    or_refused(lambda: parse(inner, raw(), open_, RECEIVED))


def test_the_registry_finds_all_of_it() -> None:
    source = Registry().source("cloudwatch")
    assert (source.verify, source.parse, source.answer) == (verify, parse, answer)
    assert source.prove is not None
    assert source.delivery is delivery
    assert Registry().source("alertmanager").prove is None


# The whole way in.


def sources(sns: FakeSns) -> str:
    return f"sources: {{cloudwatch: {{topics: ['{TOPIC}'], endpoint: '{sns.url}'}}}}\n"


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_signed_alarm_and_its_end_make_and_end_one_incident(version: str, tmp_path: Path) -> None:
    with FakeSns() as sns:
        fires, ends = (notification(alarm(state), version=version, origin=sns.url) for state in ("ALARM", "OK"))
        await makes_and_ends_one_incident(tmp_path, "cloudwatch", fires, ends, more=sources(sns), headers=headers)
        assert sns.fetched == [PEM]


FORGED = {
    "another topic": {"TopicArn": OTHER},
    "another region": {"TopicArn": TOPIC.replace("eu-west-1", "us-east-1")},
    "another host": {"SigningCertURL": "http://127.0.0.1:9" + PEM},
    "another path": {"SigningCertURL": "@" + PEM},
    "a time long ago": {"Timestamp": "2026-01-02T03:04:05.678Z"},
    "another version": {"SignatureVersion": "0"},
    "another type": {"Type": "UnsubscribeConfirmation", "Token": "x", "SubscribeURL": "x"},
    "no signature": {"Signature": ""},
}


@pytest.mark.anyio
async def test_what_is_forged_leads_nowhere(tmp_path: Path) -> None:
    with FakeSns() as sns:
        async with house(tmp_path, [], more=sources(sns)) as home:
            for what, fields in FORGED.items():
                message = notification(origin=sns.url)
                with pytest.raises(Refused) as caught:
                    await home.app.receive("cloudwatch", headers(message), sent({**message, **fields}))
                assert (caught.value.rule, sns.requests) == ("signature", []), what
            for fields in ({"SubscribeURL": "http://127.0.0.1:9/?Action=ConfirmSubscription"}, {"Token": "another"}):
                message = confirmation(origin=sns.url)
                with pytest.raises(Refused):
                    await home.app.receive("cloudwatch", headers(message), sent({**message, **fields}))
                assert sns.requests == []
            message = confirmation(origin=sns.url)
            message["Signature"] = notification(origin=sns.url)["Signature"]
            with pytest.raises(Refused):
                await home.app.receive("cloudwatch", headers(message), sent(message))
            assert (sns.fetched, sns.confirmed) == ([PEM], []), "no stranger's subscription is confirmed"
            assert await home.app.alerts() == []
            assert await home.app.quarantine() == []


@pytest.mark.anyio
async def test_what_was_done_is_in_the_receipt_and_in_the_log(tmp_path: Path) -> None:
    with FakeSns() as sns:
        async with house(tmp_path, [], more=sources(sns)) as home:
            with capture_logs() as logs:
                for message in (
                    confirmation(origin=sns.url),
                    confirmation("UnsubscribeConfirmation", origin=sns.url),
                    notification(alarm("INSUFFICIENT_DATA"), origin=sns.url),
                ):
                    receipt = await home.app.receive("cloudwatch", headers(message), sent(message))
                    assert receipt.noted
                    assert (receipt.accepted, receipt.incidents, receipt.quarantined) == (0, (), ())
                    assert logs[-1] == {
                        "event": "webhook_noted", "log_level": "info", "source": "cloudwatch", "noted": receipt.noted,
                    }  # fmt: skip
            assert [topic for topic, _ in sns.confirmed] == [TOPIC]
            assert await home.app.alerts() == []


@pytest.mark.anyio
async def test_what_somebody_recorded_has_no_second_effect(tmp_path: Path) -> None:
    with FakeSns() as sns:
        async with house(tmp_path, [], more=sources(sns)) as home:
            fires, ends = (notification(alarm(state), origin=sns.url) for state in ("ALARM", "OK"))
            for message in (fires, ends, {**fires, "UnsubscribeURL": "another, since it is not signed"}):
                receipt = await home.app.receive("cloudwatch", headers(message), sent(message))
            assert receipt.accepted == 1, "it is told what the first was told"
            (incident,) = await home.app.incidents()
            await home.until(incident.id, lambda now: now.status.value == "resolved", "the end")
            assert len(await home.app.incidents()) == 1


def test_a_delivery_is_called_what_is_signed() -> None:
    message = notification()
    lying = {**headers(message), "x-amz-sns-message-id": "another", "x-amz-sns-rawdelivery": "true"}
    assert delivery(lying, sent(message)) == message["MessageId"]
    assert delivery({"X-Amz-Sns-Message-Id": "a"}, sent(alarm())) == "a"
    assert delivery({}, sent(alarm())) is None


@pytest.mark.anyio
async def test_while_the_certificate_cannot_be_had_nothing_is_believed(tmp_path: Path) -> None:
    with FakeSns() as sns:
        async with house(tmp_path, [], more=sources(sns)) as home:
            message = notification(origin=sns.url)
            sns.inject(Fault.refuse(500))
            with pytest.raises(Unavailable, match="cannot be believed now"):
                await home.app.receive("cloudwatch", headers(message), sent(message))
            assert await home.app.alerts() == []
            # Nor while nobody answers.
            sns.inject(Fault.slow(600))
            with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
                await home.app.reception.read(
                    "cloudwatch", headers(message), sent(message), home.app.world.probe(timeout_s=0.2)
                )
            assert (await home.app.receive("cloudwatch", headers(message), sent(message))).accepted == 1


@pytest.mark.anyio
async def test_while_our_own_certificate_cannot_be_read_nothing_is_believed(tmp_path: Path) -> None:
    more = f"sources: {{cloudwatch: {{topics: ['{TOPIC}'], certificate: '{tmp_path}/sns.pem'}}}}\n"
    async with house(tmp_path, [], more=more) as home:
        message = notification()
        with pytest.raises(Unavailable, match="No such file"):
            await home.app.receive("cloudwatch", headers(message), sent(message))
        (tmp_path / "sns.pem").write_bytes(certificate())
        assert (await home.app.receive("cloudwatch", headers(message), sent(message))).accepted == 1


def test_over_http_each_answer_tells_sns_whether_to_come_again(tmp_path: Path) -> None:
    with FakeSns() as sns, House(tmp_path, more=sources(sns)) as home:

        def post(message: dict[str, Any]) -> Any:
            return home.http.post("/webhooks/cloudwatch", content=sent(message), headers=headers(message))

        assert home.app.guards_itself("cloudwatch"), "who brings nothing is refused"
        sns.inject(Fault.refuse(503))
        away = post(notification(origin=sns.url))
        assert (away.status_code, "retry-after" in away.headers) == (503, True)
        noted = post(confirmation(origin=sns.url)).json()
        assert noted == {
            "accepted": 0, "incidents": [], "quarantined": [], "noted": f"confirmed the subscription to {TOPIC}"
        }  # fmt: skip
        taken = post(notification(origin=sns.url))
        assert (taken.status_code, taken.json()["accepted"], "noted" in taken.json()) == (200, 1, False)
        assert post(notification("hello", origin=sns.url)).status_code == 202
        assert post(notification(origin=sns.url, key=rsa_key(1))).status_code == 401
        assert post({**notification(origin=sns.url), "Signature": "AAAA"}).status_code == 401
        refused = home.http.post("/webhooks/cloudwatch", content=b"{")
        assert (refused.status_code, "Basic" in refused.headers["www-authenticate"]) == (401, True)
        sns.certificates[PEM.replace("0a1b", "ffff")] = certificate(until=-1)
        old = notification(origin=sns.url, SigningCertURL=sns.url + PEM.replace("0a1b", "ffff"))
        assert post(old).status_code == 401

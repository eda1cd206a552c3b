"""A CloudWatch alarm as it stands in a message: a single metric, metric math, anomaly detection, or a composite one.

Format: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring, "Notifying users on alarm changes".
Never does: know how the message came, guess a severity, take "nobody knows" for an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from quell.incident.alert import AlertStatus, fingerprint_of
from quell.plugins.sources import _body
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import MAX_LABELS, MAX_NAME, Bad, time
from quell.plugins.sources._labelled import Labelled
from quell.plugins.sources._scalars import prose, text

UNKNOWN = "INSUFFICIENT_DATA"
STATES: Mapping[str, AlertStatus | None] = {"ALARM": AlertStatus.FIRING, "OK": AlertStatus.RESOLVED, UNKNOWN: None}
"""What a state means. That there are too few data is for the site to say."""
_KEPT = (
    "OldStateValue", "NewStateReason", "Region", "Trigger", "AlarmRule", "TriggeringChildren", "AlarmContributorId",
    "AlarmContributorAttributes",
)  # fmt: skip
_ARN = re.compile(r"arn:(aws[a-z-]*):cloudwatch:([a-z0-9-]+):([0-9]{12}):alarm:.+", re.DOTALL)
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)\Z", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
_CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
_OWN = ("alertname", "account", "region", "namespace", "metric")


def state(document: Any) -> str:
    """The state of an alarm, empty when it is none."""
    found = document.get("NewStateValue") if isinstance(document, dict) else None
    return found if isinstance(found, str) and found in STATES else ""


def said(path: str, document: Any, region: str, unknown: AlertStatus | None, params: Labelled) -> dict[str, Any] | None:
    """What an alarm says of its alert, by the alert's fields; None when its state is left as it was. Raises ``Bad``.

    ``region``: where the message came from. ``unknown``: what too few data mean.
    """
    if not isinstance(document, dict):
        raise Bad(f"{path}: {kind_of(document)}, not an object")
    name = text(f"{path}.AlarmName", document.get("AlarmName"))
    if not name:
        raise Bad(f"{path}.AlarmName: missing")
    if not (now := state(document)):
        raise Bad(f"{path}.NewStateValue: {short(document.get('NewStateValue'))}, not {', '.join(STATES)}")
    arn = text(f"{path}.AlarmArn", document.get("AlarmArn"))
    found = _ARN.fullmatch(arn)
    # Region is a name for people, such as "EU (Ireland)".
    region, account = (found[2], found[3]) if found else (region, "")
    account = text(f"{path}.AWSAccountId", document.get("AWSAccountId")) or account
    labels = {"alertname": name, "account": account, "region": region, **_metric(f"{path}.Trigger", document)}
    labels = params.labels | {label: value for label, value in labels.items() if value}
    changed = _moment(f"{path}.StateChangeTime", document.get("StateChangeTime"))
    reason, about = prose(document.get("NewStateReason")), prose(document.get("AlarmDescription"))
    status = STATES[now] or unknown
    if status is None:
        return None
    return {
        "name": name, "status": status, "labels": labels, **params.place(labels),
        "fingerprint": _fingerprint(arn, account, region, name),
        "annotations": {key: value for key, value in (("summary", about or reason), ("description", reason)) if value},
        "starts_at": changed if status is AlertStatus.FIRING else None,
        "ends_at": changed if status is AlertStatus.RESOLVED else None,
        "url": _console(found[1] if found else "aws", region, name),
        "details": {"state": now, **_body.kept(document, _KEPT)},
    }  # fmt: skip


def _fingerprint(arn: str, account: str, region: str, name: str) -> str:
    """The ARN. Long names make it longer than a fingerprint may be, and what was sent years ago has none."""
    if arn and len(arn) <= MAX_NAME and arn.isprintable():
        return arn
    return fingerprint_of({"arn": arn} if arn else {"account": account, "region": region, "alarm": name})


def _moment(path: str, value: Any) -> datetime | None:
    """``2026-01-02T03:04:05.678+0000``: an offset without a colon."""
    return time(path, _OFFSET.sub(r"\1:\2", value) if isinstance(value, str) else value)


def _console(partition: str, region: str, name: str) -> str | None:
    if not region:
        return None
    host = _CONSOLES.get(partition, "console.aws.amazon.com")
    return f"https://{region}.{host}/cloudwatch/home?region={region}#alarmsV2:alarm/{quote(name, safe='')}"


# What it watches.


def _metric(path: str, document: Mapping[str, Any]) -> dict[str, str]:
    """``namespace``, ``metric`` and the dimensions; of several metrics, what all of them share. Raises ``Bad``."""
    trigger = document.get("Trigger")
    if trigger is None:
        return {}  # a composite alarm watches alarms
    if not isinstance(trigger, dict):
        raise Bad(f"{path}: {kind_of(trigger)}, not an object")
    shared: dict[str, str] | None = None
    for place, metric in _metrics(path, trigger):
        labels = _labels(place, metric)
        shared = labels if shared is None else {k: v for k, v in shared.items() if labels.get(k) == v}
    return shared or {}


def _metrics(path: str, trigger: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if trigger.get("MetricName") is not None:
        yield path, trigger
    queries = trigger.get("Metrics")
    if queries is not None and not isinstance(queries, list):
        raise Bad(f"{path}.Metrics: {kind_of(queries)}, not a list")
    for number, query in enumerate(queries or ()):
        stat = query.get("MetricStat") if isinstance(query, dict) else None
        metric = stat.get("Metric") if isinstance(stat, dict) else None
        if isinstance(metric, dict):  # the others are expressions over these
            yield f"{path}.Metrics[{number}].MetricStat.Metric", metric


def _labels(path: str, metric: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "namespace": text(f"{path}.Namespace", metric.get("Namespace")),
        "metric": text(f"{path}.MetricName", metric.get("MetricName")),
    }
    dimensions = metric.get("Dimensions") or []
    if not isinstance(dimensions, list):
        raise Bad(f"{path}.Dimensions: {kind_of(dimensions)}, not a list")
    if len(dimensions) > MAX_LABELS // 2:
        raise Bad(f"{path}.Dimensions: {len(dimensions)} entries, more than {MAX_LABELS // 2}")
    for number, dimension in enumerate(dimensions):
        place = f"{path}.Dimensions[{number}]"
        if not isinstance(dimension, dict):
            raise Bad(f"{place}: {kind_of(dimension)}, not an object")
        name = text(f"{place}.name", dimension.get("name"), MAX_NAME)
        if not name:
            raise Bad(f"{place}.name: missing")
        found[_safe(name, found)] = text(f"{place}.value", dimension.get("value"))
    return found


def _safe(name: str, taken: Mapping[str, str]) -> str:
    """As the name of a label: letters, digits and ``_``; one that is taken gets a prefix and never takes its place."""
    label = _UNSAFE.sub("_", name)
    label = f"_{label}" if label[0].isdigit() else label
    while label in taken or label in _OWN:
        label = f"dimension_{label}"
    return label

"""The fake kube-apiserver asked directly over HTTP: lists, watches, patches, conflicts, errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.serving import Fault

APPS = "/apis/apps/v1/namespaces/default"
CORE = "/api/v1/namespaces/default"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


def set_image(api: httpx.Client, image: str, **params: str) -> httpx.Response:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    return api.patch(f"{APPS}/deployments/web", params=params, headers=STRATEGIC, content=json.dumps(patch))


def web(api: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = api.get(f"{APPS}/deployments/web").json()
    return document


# -- writing


def test_dry_run_answers_as_if_and_changes_nothing(k8s: FakeKubernetes, api: httpx.Client) -> None:
    before = web(api)
    answer = set_image(api, "shop:2", dryRun="All")
    assert answer.json()["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:2"
    scale = api.patch(f"{APPS}/deployments/web/scale?dryRun=All", headers=MERGE, content='{"spec":{"replicas":9}}')
    assert scale.json()["spec"]["replicas"] == 9
    name = k8s.objects("pods")[0]["metadata"]["name"]
    assert api.request("DELETE", f"{CORE}/pods/{name}?dryRun=All").status_code == 200
    assert web(api) == before
    assert len(k8s.objects("pods")) == 3
    assert set_image(api, "shop:2", dryRun="Some").status_code == 422


def test_a_put_with_an_old_version_is_a_conflict(k8s: FakeKubernetes, api: httpx.Client) -> None:
    mine = web(api)
    api.patch(f"{APPS}/deployments/web", headers=MERGE, content='{"metadata":{"labels":{"x":"y"}}}')
    answer = api.put(f"{APPS}/deployments/web", json=mine)
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert 'deployments.apps "web": the object has been modified' in answer.json()["message"]
    fresh = web(api)
    assert api.put(f"{APPS}/deployments/web", json=fresh).status_code == 200
    stale = {"metadata": {"resourceVersion": mine["metadata"]["resourceVersion"]}}
    patched = api.patch(f"{APPS}/deployments/web", headers=MERGE, content=json.dumps(stale))
    assert patched.status_code == 409


def test_scale_by_put_and_by_patch(k8s: FakeKubernetes, api: httpx.Client) -> None:
    scale = api.get(f"{APPS}/deployments/web/scale").json()
    assert (scale["kind"], scale["spec"], scale["status"]["replicas"]) == ("Scale", {"replicas": 3}, 3)
    scale["spec"]["replicas"] = 1
    assert api.put(f"{APPS}/deployments/web/scale", json=scale).status_code == 200
    assert api.put(f"{APPS}/deployments/web/scale", json=scale).status_code == 409
    k8s.wait_for(lambda: k8s.settled("web"))
    api.patch(f"{APPS}/deployments/web/scale", headers=MERGE, content='{"spec":{"replicas":4}}')
    k8s.wait_for(lambda: k8s.settled("web"))
    assert len(k8s.objects("replicasets")) == 1


@pytest.mark.parametrize(
    ("headers", "patch", "code", "said"),
    [
        (MERGE, {"spec": {"replicas": -1}}, 422, "spec.replicas: Invalid value: -1"),
        (MERGE, {"spec": {"selector": {"matchLabels": {"app": "x"}}}}, 422, "field is immutable"),
        (MERGE, {"spec": {"template": {"metadata": {"labels": {"app": None}}}}}, 422, "does not match template"),
        (MERGE, {"spec": {"template": {"spec": {"containers": []}}}}, 422, "containers: Required value"),
        (JSON_PATCH, [{"op": "replace", "path": "/spec/nope", "value": 1}], 422, "nonexistent path"),
        (JSON_PATCH, [{"op": "test", "path": "/spec/replicas", "value": 7}], 422, "test failed"),
        ({"Content-Type": "application/apply-patch+yaml"}, {}, 415, "unknown format"),
    ],
)
def test_patches_that_are_refused(api: httpx.Client, headers: dict[str, str], patch: Any, code: int, said: str) -> None:
    before = web(api)
    answer = api.patch(f"{APPS}/deployments/web", headers=headers, content=json.dumps(patch))
    assert answer.status_code == code
    assert said in answer.json()["message"]
    assert answer.json()["kind"] == "Status"
    assert web(api) == before


def test_creating_and_deleting(k8s: FakeKubernetes, api: httpx.Client) -> None:
    document = web(api)
    document["metadata"] = {"name": "copy", "labels": {"app": "web"}}
    assert api.post(f"{APPS}/deployments", json=document).status_code == 201
    again = api.post(f"{APPS}/deployments", json=document)
    assert (again.status_code, again.json()["reason"]) == (409, "AlreadyExists")
    assert api.post("/apis/apps/v1/namespaces/nowhere/deployments", json=document).status_code == 404
    assert api.request("DELETE", f"{APPS}/deployments/copy").json()["status"] == "Success"
    k8s.wait_for(lambda: {r["metadata"]["name"].rsplit("-", 1)[0] for r in k8s.objects("replicasets")} == {"web"})
    k8s.wait_for(lambda: len(k8s.objects("pods")) == 3)


# -- reading


def test_selectors_and_pages(k8s: FakeKubernetes, api: httpx.Client) -> None:
    k8s.add_deployment("job", "cron:1")
    k8s.wait_for(lambda: k8s.settled("job"))

    def names(**params: str) -> list[str]:
        rows = api.get(f"{CORE}/pods", params=params).json()["items"]
        return [row["metadata"]["name"].split("-")[0] for row in rows]

    assert names(labelSelector="app=web") == ["web"] * 3
    assert names(labelSelector="app in (job, x),pod-template-hash,!canary") == ["job"]
    assert names(labelSelector="app!=web") == ["job"]
    assert names(labelSelector="app notin (job)") == ["web"] * 3
    assert names(fieldSelector="status.phase=Running,metadata.namespace=default") == ["job"] + ["web"] * 3
    assert names(fieldSelector="status.phase!=Running") == []
    assert api.get(f"{CORE}/pods?fieldSelector=spec.nope=1").status_code == 400
    assert api.get(f"{CORE}/pods?labelSelector=%3D").status_code == 400
    first = api.get(f"{CORE}/pods?limit=3").json()
    assert first["metadata"]["remainingItemCount"] == 1
    rest = api.get(f"{CORE}/pods", params={"limit": "3", "continue": first["metadata"]["continue"]}).json()
    both = [row["metadata"]["name"] for row in first["items"] + rest["items"]]
    assert len(set(both)) == 4
    assert "continue" not in rest["metadata"]


def test_a_table_is_given_to_those_who_ask(api: httpx.Client) -> None:
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = api.get(f"{APPS}/deployments", headers=accept).json()
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:4] == ["web", "3/3", 3, 3]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def events(api: httpx.Client, **params: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    query = {"watch": "true", "timeoutSeconds": "20", **params}
    with api.stream("GET", f"{CORE}/pods", params=query) as answer:
        for line in answer.iter_lines():
            event = json.loads(line)
            yield event["type"], event["object"]


def test_a_watch_continues_where_a_list_ended_and_sends_bookmarks(k8s: FakeKubernetes, api: httpx.Client) -> None:
    version = api.get(f"{CORE}/pods").json()["metadata"]["resourceVersion"]
    stream = events(api, resourceVersion=version, allowWatchBookmarks="true")
    kind, document = next(stream)
    assert kind == "BOOKMARK"
    assert set(document) == {"kind", "apiVersion", "metadata"}
    victim = k8s.objects("pods")[0]["metadata"]["name"]
    httpx.request("DELETE", f"{k8s.url}{CORE}/pods/{victim}?gracePeriodSeconds=0")
    seen = []
    for kind, document in stream:
        seen.append((kind, document["metadata"].get("name")))
        if {"DELETED", "ADDED"} <= {k for k, _ in seen}:
            break
    assert ("DELETED", victim) in seen


def test_a_watch_with_a_selector_sees_objects_come_and_go(k8s: FakeKubernetes, api: httpx.Client) -> None:
    name = k8s.objects("pods")[0]["metadata"]["name"]
    stream = events(api, labelSelector="canary=yes")

    def label(value: str | None) -> None:
        patch = json.dumps({"metadata": {"labels": {"canary": value}}})
        assert httpx.patch(f"{k8s.url}{CORE}/pods/{name}", headers=MERGE, content=patch).status_code == 200

    label("yes")
    assert [next(stream)[0] for _ in range(1)] == ["ADDED"]
    label(None)
    assert next(stream)[0] == "DELETED"


def test_a_watch_ends_by_its_timeout_by_a_cut_and_by_compaction(k8s: FakeKubernetes, api: httpx.Client) -> None:
    assert [kind for kind, _ in events(api, timeoutSeconds="0.1")] == ["ADDED"] * 3
    stream = events(api)
    assert next(stream)[0] == "ADDED"
    k8s.cut_watches()
    assert [kind for kind, _ in stream] == ["ADDED"] * 2
    version = k8s.cluster.revision - 1
    k8s.compact()
    ((kind, status),) = events(api, resourceVersion=str(version))
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")


def test_logs_by_tail_container_and_following(k8s: FakeKubernetes, api: httpx.Client) -> None:
    name = k8s.objects("pods")[0]["metadata"]["name"]
    path = f"{CORE}/pods/{name}/log"
    k8s.write_log(name, "one", "two")
    assert api.get(path).text == "starting shop:1\none\ntwo\n"
    assert api.get(f"{path}?tailLines=1&container=app").text == "two\n"
    assert api.get(f"{path}?tailLines=0").text == ""
    stamp = api.get(f"{path}?tailLines=1&timestamps=true").text.split(" ")[0]
    assert time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S").tm_year >= 2024
    wrong = api.get(f"{path}?container=nope")
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "BadRequest")
    with api.stream("GET", f"{path}?follow=true&tailLines=1") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "two"
        k8s.write_log(name, "three")
        assert next(lines) == "three"


def test_ages_can_be_set(k8s: FakeKubernetes) -> None:
    name = k8s.objects("replicasets")[0]["metadata"]["name"]
    k8s.backdate("replicasets", name, 7200)
    made = time.strptime(k8s.objects("replicasets")[0]["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
    assert 7190 < time.mktime(time.gmtime()) - time.mktime(made) < 7300


# -- refusals


def test_what_is_not_there(api: httpx.Client) -> None:
    answer = api.get(f"{APPS}/deployments/nope")
    assert answer.status_code == 404
    assert answer.json()["message"] == 'deployments.apps "nope" not found'
    assert answer.json()["details"] == {"name": "nope", "group": "apps", "kind": "deployments"}
    assert api.get("/apis/batch/v1/jobs").status_code == 404
    assert api.get(f"{APPS}/pods").status_code == 404
    assert api.get(f"{APPS}/deployments/web/nope").status_code == 404
    assert api.post(f"{APPS}/deployments/web", json={}).status_code == 405
    assert api.get("/readyz").text == "ok"


def test_who_may_not(k8s: FakeKubernetes, api: httpx.Client) -> None:
    k8s.forbid("patch", "deployments", "default")
    answer = set_image(api, "shop:2")
    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
    assert 'cannot patch resource "deployments" in API group "apps"' in answer.json()["message"]
    assert api.get(f"{APPS}/deployments/web").status_code == 200
    scale = api.patch(f"{APPS}/deployments/web/scale", headers=MERGE, content='{"spec":{"replicas":3}}')
    assert scale.status_code == 200
    k8s.forbid("get", "pods/log")
    assert api.get(f"{CORE}/pods/{k8s.objects('pods')[0]['metadata']['name']}/log").status_code == 403


def test_a_token_is_asked_for() -> None:
    with FakeKubernetes(token="sesame") as k8s:
        assert httpx.get(k8s.url + "/version").status_code == 401
        good = httpx.get(k8s.url + "/version", headers={"Authorization": "Bearer sesame"})
        assert good.json()["gitVersion"] == "v1.32.4"


def test_injected_errors_are_status_objects(k8s: FakeKubernetes, api: httpx.Client) -> None:
    k8s.inject(Fault.refuse(429, retry_after=1), Fault.refuse(500))
    busy = api.get(f"{APPS}/deployments")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
    assert busy.json()["details"] == {"retryAfterSeconds": 1}
    assert api.get(f"{APPS}/deployments").json()["reason"] == "InternalError"
    k8s.inject(Fault.cut(method="PATCH", acts=True))
    with pytest.raises(httpx.RemoteProtocolError):
        set_image(api, "shop:2")
    k8s.wait_for(lambda: k8s.settled("web"))
    assert k8s.objects("pods")[0]["spec"]["containers"][0]["image"] == "shop:2"

"""A running fake cluster with one settled Deployment `web` of three pods, and clients for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.kubectl import Kubectl
from tests.fakes.kubernetes import FakeKubernetes


@pytest.fixture
def k8s() -> Iterator[FakeKubernetes]:
    with FakeKubernetes() as k8s:
        k8s.add_deployment("web", "shop:1", replicas=3)
        k8s.wait_for(lambda: k8s.settled("web"))
        yield k8s


@pytest.fixture
def api(k8s: FakeKubernetes) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=k8s.url) as client:
        yield client


@pytest.fixture
def kubectl(k8s: FakeKubernetes, tmp_path: Path) -> Kubectl:
    return Kubectl(k8s.url, tmp_path)

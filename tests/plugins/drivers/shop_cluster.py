"""A cluster with one Deployment, driven by the real kubectl and by the driver.

Never a real cluster: the API is a fake, and kubectl is shown no configuration but its address.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from quell.incident.service import Service
from quell.plugins.drivers import kubernetes
from tests.fakes.kubernetes import FakeKubernetes
from tests.plugins.world import probe_over
from tests.servers.process import locate, wait_until

T = TypeVar("T")
TOKEN = "let-me-in"
TOKEN_VARIABLE = "QUELL_TEST_KUBE_TOKEN"
SERVICE = Service(name="payment")


@contextmanager
def shop_cluster() -> Iterator[FakeKubernetes]:
    """A Deployment `payment` on its third revision, with three pods ready."""
    with FakeKubernetes() as fake:
        usual = fake.kubelet.ready_after_s, fake.kubelet.grace_s
        fake.kubelet.ready_after_s = fake.kubelet.grace_s = 0  # so far nobody looks
        fake.add_deployment("payment", "shop/payment:1", replicas=3)
        wait_until(lambda: fake.settled("payment"), "first revision")
        for tag in ("2", "3"):
            _set_image(fake, f"shop/payment:{tag}")
            wait_until(lambda: fake.settled("payment"), f"revision {tag}")
        fake.kubelet.ready_after_s, fake.kubelet.grace_s = usual
        yield fake


def _set_image(fake: FakeKubernetes, image: str) -> None:
    """As `kubectl set image` does it, which takes a third of a second to begin."""
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    urllib.request.urlopen(
        urllib.request.Request(
            f"{fake.url}/apis/apps/v1/namespaces/default/deployments/payment", json.dumps(patch).encode(),
            {"content-type": "application/strategic-merge-patch+json"}, method="PATCH",
        )
    ).close()  # fmt: skip


def kubectl(fake: FakeKubernetes, *words: str) -> str:
    done = subprocess.run(
        [locate("kubectl", "kubernetes-client"), "--server", fake.url, *words],
        capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def drive(fake: FakeKubernetes | str, act: Callable[[kubernetes.Kubernetes], Awaitable[T]], **config: Any) -> T:
    url = fake if isinstance(fake, str) else fake.url
    settings = {"deployment": "payment", "url": url, "token": f"env:{TOKEN_VARIABLE}"} | config
    chosen = kubernetes.Config.model_validate({key: value for key, value in settings.items() if value is not None})

    async def run() -> T:
        async with probe_over() as probe:
            return await act(kubernetes.connect(chosen, SERVICE, probe))

    return asyncio.run(run())

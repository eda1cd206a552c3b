"""How the Kubernetes driver finds its API: kubeconfig files and service accounts, over real TLS in front of the fake."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from quell.errors import Permanent
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.tls import TestAuthority, _issue
from tests.plugins.drivers.shop_cluster import TOKEN, TOKEN_VARIABLE, drive, shop_cluster
from tests.servers.haproxy import HAProxy


@pytest.fixture(autouse=True)
def _token() -> Iterator[None]:
    os.environ[TOKEN_VARIABLE] = TOKEN
    yield
    del os.environ[TOKEN_VARIABLE]


@pytest.fixture
def cluster() -> Iterator[FakeKubernetes]:
    with shop_cluster() as fake:
        yield fake


TLS_FRONT = """\
frontend api
    bind 127.0.0.1:${{PORT}} ssl crt "${{FOLDER}}/api.pem" ca-file "${{FOLDER}}/clients.pem" verify required
    default_backend api
backend api
    server api 127.0.0.1:{port}
"""


def _kubeconfig(folder: Path, url: str, authority: TestAuthority, *, inline: bool) -> Path:
    """A kubeconfig with a client certificate, in the file or beside it."""
    client = _issue("quell", authority.root, (-1, 30))
    certificate = client.certificate.public_bytes(serialization.Encoding.PEM)
    key = client.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    material = {
        "certificate-authority": authority.root_file.read_bytes(),
        "client-certificate": certificate,
        "client-key": key,
    }
    said: dict[str, str] = {}
    for name, pem in material.items():
        (folder / f"{name}.pem").write_bytes(pem)
        said |= {f"{name}-data": base64.b64encode(pem).decode()} if inline else {name: f"{name}.pem"}
    document = {
        "current-context": "elsewhere",
        "contexts": [{"name": "shop", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": url, "tls-server-name": "api.test"}
                | {name: value for name, value in said.items() if name.startswith("certificate")},
            }
        ],
        "users": [{"name": "u", "user": {"token": TOKEN} | {k: v for k, v in said.items() if k.startswith("client")}}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("inline", [True, False])
def test_a_kubeconfig_with_a_client_certificate(cluster: FakeKubernetes, tmp_path: Path, inline: bool) -> None:
    authority = TestAuthority(tmp_path)
    files = {"api.pem": authority.leaf("api.test").read_text(), "clients.pem": authority.root_file.read_text()}
    with HAProxy(TLS_FRONT.format(port=cluster.port), files=files) as front:
        path = _kubeconfig(tmp_path, f"https://127.0.0.1:{front.port}", authority, inline=inline)
        config = {"url": None, "token": None, "kubeconfig": path, "context": "shop"}
        assert drive(cluster, lambda driver: driver.state(), **config).ready == 3
        with pytest.raises(Permanent, match="no context 'elsewhere'; known: shop"):
            drive(cluster, lambda driver: driver.state(), **{**config, "context": None})
        # Without trust in the authority nothing is sent at all.
        with pytest.raises(Permanent) as failure:
            drive(cluster, lambda driver: driver.state(), url=f"https://127.0.0.1:{front.port}")
        assert failure.value.error_class == "tls"


def test_the_service_account_of_a_pod(cluster: FakeKubernetes, tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    front = TLS_FRONT.replace(' ca-file "${{FOLDER}}/clients.pem" verify required', "").format(port=cluster.port)
    with HAProxy(front, files={"api.pem": authority.leaf("127.0.0.1").read_text()}) as server:
        (tmp_path / "token").write_text(TOKEN + "\n")
        (tmp_path / "namespace").write_text("default")
        shutil.copy(authority.root_file, tmp_path / "ca.crt")
        inside = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        os.environ.update(inside)
        try:
            state = drive(cluster, lambda driver: driver.state(), url=None, token=None, service_account=tmp_path)
        finally:
            for name in inside:
                del os.environ[name]
    assert state.ready == 3


@pytest.mark.parametrize(
    ("text", "error_class"),
    [
        ("", "invalid"),
        ("- a", "invalid"),
        ("{", "invalid"),
        ("current-context: a", "missing"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: []}", "missing"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: [{name: c}]}", "invalid"),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], users: [{name: u, user: "
            "{exec: {command: rm}}}], clusters: [{name: c, cluster: {server: 'https://x'}}]}",
            "invalid",
        ),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: [{name: c, cluster: "
            "{server: 'https://x', certificate-authority-data: '!'}}]}",
            "invalid",
        ),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: [{name: c, cluster: "
            "{server: 'https://x', certificate-authority-data: aGVsbG8=}}]}",
            "tls",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path, text: str, error_class: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(Permanent) as failure:
        drive("http://unused", lambda driver: driver.state(), url=None, token=None, kubeconfig=path)
    assert failure.value.error_class == error_class

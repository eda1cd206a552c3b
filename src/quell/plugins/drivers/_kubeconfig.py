"""How a Kubernetes API is reached: from an address, a kubeconfig file or the service account of a pod.

Source: kubernetes.io, "Organizing Cluster Access Using kubeconfig Files" and "Accessing the API from within a Pod".
Never does: run a credential plug-in (`exec`), print a token, leave a private key on disk.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from quell.errors import Permanent
from quell.redact import KNOWN

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is and who we are. ``tls`` is None for the client's own default."""

    url: str
    token: str = field(default="", repr=False)
    namespace: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        KNOWN.learn(self.token)


def from_address(url: str, token: str, ca: Path | None) -> Access:
    """Raises ``Permanent`` (missing, tls) when the authority's file cannot be used."""
    pem = _text(ca) if ca else ""
    return Access(url.rstrip("/"), token, tls=_context(pem) if ca else None)


def from_service_account(folder: Path = SERVICE_ACCOUNT) -> Access:
    """As a pod sees it. Raises ``Permanent`` (missing) outside of a cluster."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise Permanent("kubernetes: not in a cluster, and neither url nor kubeconfig is given", "missing")
    namespace = ""
    with suppress(Permanent):
        namespace = _text(folder / "namespace").strip()
    place = f"[{host}]" if ":" in host else host
    context = _context(_text(folder / "ca.crt"))
    return Access(f"https://{place}:{port}", _text(folder / "token").strip(), namespace, context)


def from_kubeconfig(path: Path, context: str = "") -> Access:
    """The named context, or the current one.

    Raises ``Permanent``: missing (file, context, cluster, user), invalid (not a kubeconfig, or a way of logging in
    that needs a program), tls (certificates that cannot be used).
    """
    document = _document(path)
    wanted = context or str(document.get("current-context", ""))
    chosen = _named(document, "contexts", "context", wanted, path)
    cluster = _named(document, "clusters", "cluster", str(chosen.get("cluster", "")), path)
    user = _named(document, "users", "user", str(chosen["user"]), path) if chosen.get("user") else {}
    for way in ("exec", "auth-provider"):
        if user.get(way):
            raise Permanent(
                f"{path}: the user logs in by `{way}`, which runs a program; give a token instead", "invalid"
            )
    url = str(cluster.get("server", "")).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise Permanent(f"{path}: the cluster has no server address", "invalid")
    token = str(user.get("token") or "")
    if not token and user.get("tokenFile"):
        token = _text(path.parent / str(user["tokenFile"])).strip()
    tls = None
    if url.startswith("https://"):
        tls = _context(
            _material(cluster, "certificate-authority", path),
            _material(user, "client-certificate", path),
            _material(user, "client-key", path),
            verify=not cluster.get("insecure-skip-tls-verify"),
        )
    return Access(url, token, str(chosen.get("namespace") or ""), tls, str(cluster.get("tls-server-name") or ""))


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(_text(path))
    except (yaml.YAMLError, RecursionError):
        raise Permanent(f"{path}: not YAML", "invalid") from None
    if not isinstance(document, Mapping):
        raise Permanent(f"{path}: not a kubeconfig", "invalid")
    return document


def _named(document: Mapping[str, Any], plural: str, kind: str, name: str, path: Path) -> Mapping[str, Any]:
    entries = document.get(plural)
    known = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    for entry in known:
        if entry.get("name") == name:
            inner = entry.get(kind)
            return inner if isinstance(inner, Mapping) else {}
    names = ", ".join(str(entry.get("name")) for entry in known) or "none"
    raise Permanent(f"{path}: no {kind} {name!r}; known: {names}", "missing")


def _material(entry: Mapping[str, Any], name: str, path: Path) -> str:
    """A PEM given inside the file (`<name>-data`) or beside it; empty when not given."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Permanent(f"{path}: {name}-data is not base64 of a PEM", "invalid") from None
    return _text(path.parent / str(entry[name])) if entry.get(name) else ""


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        kind = "denied" if isinstance(error, PermissionError) else "missing"
        raise Permanent(f"{path}: {getattr(error, 'strerror', None) or 'not text'}", kind) from None


def _context(ca: str, certificate: str = "", key: str = "", *, verify: bool = True) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca or None)
        if not verify:
            # Written into the kubeconfig by its owner; kubectl honours it as well.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate and key:
            _load(context, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise Permanent(f"kubernetes: the certificates cannot be used ({type(error).__name__})", "tls") from None
    return context


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # Python's ssl reads a chain from a file only: one that nobody else can open, for as long as that takes.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate.strip()}\n{key.strip()}\n")
        file.flush()
        context.load_cert_chain(file.name)

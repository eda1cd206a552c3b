"""The fake SNS: openssl takes its signatures, and its addresses answer as the real ones do."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.fakes.sns import PEM, TOPIC, FakeSns, certificate, confirmation, notification, signed, string_to_sign


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to ask")
@pytest.mark.parametrize(("version", "hashed"), [("1", "-sha1"), ("2", "-sha256")])
def test_another_program_takes_the_signature(version: str, hashed: str, tmp_path: Path) -> None:
    message = notification(version=version)
    (tmp_path / "certificate").write_bytes(certificate())
    (tmp_path / "signature").write_bytes(base64.b64decode(message["Signature"]))
    (tmp_path / "signed").write_bytes(string_to_sign(message))
    key = subprocess.run(
        ["openssl", "x509", "-pubkey", "-noout", "-in", tmp_path / "certificate"], check=True, capture_output=True
    )
    (tmp_path / "key").write_bytes(key.stdout)
    asked = ["openssl", "dgst", hashed, "-verify", tmp_path / "key", "-signature", tmp_path / "signature"]
    said = subprocess.run([*asked, tmp_path / "signed"], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "Verified OK"


def test_what_is_signed_is_what_the_guide_shows() -> None:
    message = {"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": "hi\n", "Timestamp": "now"}
    assert string_to_sign(message) == b"Message\nhi\n\nMessageId\nm\nTimestamp\nnow\nTopicArn\nt\nType\nNotification\n"
    message |= {"Subject": "s"}
    assert b"\nMessageId\nm\nSubject\ns\nTimestamp\n" in string_to_sign(message)
    both = confirmation(Token="k")
    assert b"\nToken\nk\nTopicArn\n" in string_to_sign(both)
    assert signed(both) == both


def test_it_serves_the_certificate_and_takes_confirmations() -> None:
    with FakeSns() as sns:
        assert httpx.get(sns.url + PEM).content == sns.certificates[PEM]
        assert httpx.get(sns.url + "/other.pem").status_code == 404
        assert httpx.get(confirmation(origin=sns.url, Token="k")["SubscribeURL"]).is_success
        assert httpx.get(sns.url + "/?Action=ConfirmSubscription").status_code == 400
        assert (sns.confirmed, sns.fetched) == ([(TOPIC, "k")], [PEM, "/other.pem"])

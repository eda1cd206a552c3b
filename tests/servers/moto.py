"""A real moto on loopback: topics, subscriptions and deliveries as Amazon SNS has them, in memory.

It signs what it delivers with a key of its own and serves the certificate, but leaves out the subject, which SNS signs
too, the headers that SNS sends, and the confirmation of a subscription. Its packages are not those of Quell's lock:
`requirements/install moto` makes an environment for them. Never asks Amazon anything.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import httpx

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import MissingProgramError, Server

ENVIRONMENT = Path(__file__).parents[2] / ".venv-moto"
REGION = "eu-west-1"
SIGNED = (
    f"AWS4-HMAC-SHA256 Credential=test/20260304/{REGION}/sns/aws4_request, SignedHeaders=host, "
    "Signature=0000000000000000000000000000000000000000000000000000000000000000"
)
"""Moto reads from it which service is meant, and in which region. It does not look at the signature."""


class Moto(Server):
    """Its SNS, in one region."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"

    def argv(self) -> list[str]:
        program = shutil.which("moto_server", path=str(ENVIRONMENT / "bin"))
        if program is None:
            raise MissingProgramError(f"needs {ENVIRONMENT.name} (make test, or requirements/install moto)")
        return [program, "--host", LOOPBACK, "--port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        """What it imports is compiled once: installing left that to use."""
        return {"PYTHONDONTWRITEBYTECODE": ""}

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/moto-api/data.json", timeout=1).is_success
        except httpx.HTTPError:
            return False

    def get(self, path: str, query: Mapping[str, Sequence[str]]) -> httpx.Response:
        """What SNS answers at that address: its query API, or a certificate."""
        return httpx.get(
            f"{self.url}{path}",
            params={name: list(values) for name, values in query.items()},
            headers={"Authorization": SIGNED},
            timeout=10,
        )

    def topic(self, name: str) -> str:
        """The ARN of a new topic."""
        return self._asked("TopicArn", Action="CreateTopic", Name=name)

    def subscribe(self, topic: str, endpoint: str) -> str:
        """The ARN of the subscription of an address, which is confirmed without asking there."""
        return self._asked("SubscriptionArn", Action="Subscribe", TopicArn=topic, Protocol="http", Endpoint=endpoint)

    def publish(self, topic: str, message: str, subject: str | None = None) -> str:
        """The id of the message. Every subscription has been tried once when it is there."""
        more = {} if subject is None else {"Subject": subject}
        return self._asked("MessageId", Action="Publish", TopicArn=topic, Message=message, **more)

    def _asked(self, wanted: str, **form: str) -> str:
        answer = httpx.post(self.url, data=form, headers={"Authorization": SIGNED}, timeout=30).raise_for_status()
        return next(one.text or "" for one in ElementTree.fromstring(answer.text).iter() if one.tag.endswith(wanted))

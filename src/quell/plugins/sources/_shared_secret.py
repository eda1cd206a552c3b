"""What a site and a sender that cannot sign agree on: a token, in a header of its own or in the usual one.

Never does: read a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import model_validator

from quell.errors import Permanent
from quell.plugins.sources import _secret
from quell.plugins.sources._credentials import WRONG, header, lost, same, shown_by, token_or_password
from quell.plugins.sources._labelled import Labelled
from quell.plugins.sources._signed import HeaderName
from quell.ports import at_fault


class SharedSecret(Labelled):
    """``token`` (bearer, or in ``header``) and ``password`` (basic) are secret references; with neither, a token of
    Quell's own is asked for."""

    token: str | None = None
    header: HeaderName = ""
    """The header in which the token comes as it is, instead of ``Authorization: Bearer``."""
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None

    @model_validator(mode="after")
    def _header_is_of_a_token(self) -> Self:
        if self.header and not self.token:
            raise at_fault(("header",), "it says where the token comes, and there is no token")
        return self

    def shown_by(self, headers: Mapping[str, str]) -> str:
        """How a sender that is not refused was known; empty when nothing was asked for."""
        if not (self.token and self.header):
            return shown_by(headers, self.token, self.password)
        basic = self.password and header(headers, "authorization").lower().startswith("basic ")
        alone = not header(headers, self.header.lower())
        return "basic auth" if basic and alone else f"token in {self.header}"

    def refuses(self, headers: Mapping[str, str]) -> str | None:
        """Why the sender is refused, None when it may post. Compared in constant time."""
        if not (self.token and self.header):
            return token_or_password(headers, self.token, self.username, self.password)
        try:
            if same(header(headers, self.header.lower()).strip(), _secret.resolve(self.token)):
                return None
        except Permanent as error:
            return lost(error)
        return token_or_password(headers, None, self.username, self.password) if self.password else WRONG

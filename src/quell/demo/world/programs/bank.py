"""The bank: the third party that authorises payments. It is not ours, so no supervisor of ours restarts it.

``POST /authorise`` answers the same for the same payment id. Never keeps money, nor anything on disk.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict

from quell.demo.world.programs.wire import Answer, Request, Server, answer_json, hold_lifeline, wait_for_term

REMEMBERED = 20_000


class Bank:
    """Authorisations by payment id, the oldest forgotten first."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, str] = OrderedDict()
        self._count = 0

    def handle(self, request: Request) -> Answer:
        if request.path == "/health":
            return answer_json(200, {"status": "ok"})
        if request.path != "/authorise" or request.method != "POST":
            return answer_json(404, {"error": "not found"})
        try:
            payment, cents = str(json.loads(request.body)["id"]), int(json.loads(request.body)["cents"])
        except (ValueError, KeyError, TypeError):
            return answer_json(400, {"error": "id and cents are needed"})
        if cents <= 0:
            return answer_json(400, {"error": "cents must be positive"})
        if payment not in self._given:
            self._count += 1
            self._given[payment] = f"auth-{self._count}"
            if len(self._given) > REMEMBERED:
                self._given.popitem(last=False)
        return answer_json(200, {"authorisation": self._given.get(payment, "")})


if __name__ == "__main__":
    hold_lifeline()
    server = Server(int(sys.argv[1]), Bank().handle)
    wait_for_term()
    server.drain(0.2)

"""The shop, one replica: answers `/buy?currency=…` with a price and `/health` with its version. Ends what it has begun.

Run as ``shop.py PORTS NUMBER``: serves on the NUMBERth (from 1) of the comma-separated PORTS. How it prices, and so
what is wrong with a release, is in ``pricing.py`` beside it. Never imports the product.
"""

import json
import signal
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from urllib.parse import parse_qs, urlsplit

import pricing

VERSION = json.loads((Path(__file__).parent / "RELEASE.json").read_text())["version"]


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/health":
            self.tell(HTTPStatus.OK, {"version": VERSION})
            return
        try:
            price = pricing.price(4200, parse_qs(address.query)["currency"][0])
        except Exception as error:
            self.tell(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(error).__name__}: {error}"})
            return
        self.tell(HTTPStatus.OK, {"price": price, "version": VERSION})

    def tell(self, status: HTTPStatus, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # So that a replica that is told to end has no connection left that nobody speaks on.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def main() -> None:
    ports, number = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", int(ports.split(",")[int(number) - 1])), Shop)
    server.daemon_threads = False

    def stop(signum: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(poll_interval=0.02)
    server.server_close()


main()

"""A replica to be moved: a small HTTP server that tells its version, and ends what it has begun when asked to stop.

Run as ``replica.py PORTS NUMBER VERSION_FILE [STARTUP_S]``: serves on the NUMBERth (from 1) of the comma-separated
PORTS. Never imports the product.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType


class Answer(BaseHTTPRequestHandler):
    version = ""

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            time.sleep(float(self.path.partition("=")[2] or 1))
        status = 500 if self.version == "bad" else 200
        body = json.dumps({"version": self.version, "pid": os.getpid()}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def main() -> None:
    ports, number, version_file = sys.argv[1:4]
    if len(sys.argv) > 4:
        time.sleep(float(sys.argv[4]))
    Answer.version = Path(version_file).read_text().strip()
    server = ThreadingHTTPServer(("127.0.0.1", int(ports.split(",")[int(number) - 1])), Answer)
    server.daemon_threads = False

    def stop(signum: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(poll_interval=0.02)
    server.server_close()


main()

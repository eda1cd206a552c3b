"""The end of a command some of whose threads may hang in a database or a name server that is away.

Python waits for every thread at its end. Never does: end before what was printed or logged is out.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

import typer

THREADS_S = 1.0
"""How long threads that are about to end are waited for."""


def leave(code: int = 0, *, within_s: float = THREADS_S) -> None:
    """All that must be on disk is there when this is called: whoever still hangs is not waited for."""
    deadline = time.monotonic() + within_s
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    if code:
        raise typer.Exit(code)

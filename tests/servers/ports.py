"""Free loopback ports for test servers.

Never hands out the same port twice, within one process or between processes that run at the same time.
Ports come from below the range the kernel uses for outgoing connections, so that no client socket can take
a port between the moment it is chosen and the moment the server binds it.
"""

import contextlib
import random
import socket
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST = 10_240
_ATTEMPTS = 1_000

_reservations: dict[int, socket.socket | None] = {}


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on and that no other test process was given."""
    highest = _first_ephemeral_port() - 1
    for _ in range(_ATTEMPTS):
        port = random.randint(_LOWEST, highest)
        if port not in _reservations and _bindable(port) and _reserve(port):
            return port
    raise RuntimeError(f"no free port between {_LOWEST} and {highest} after {_ATTEMPTS} attempts")


def listening(port: int) -> bool:
    """Whether something accepts TCP connections on 127.0.0.1:`port`."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32_768


def _bindable(port: int) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _reserve(port: int) -> bool:
    """Claim `port` against other test processes with an abstract socket, which dies with this process."""
    if sys.platform != "linux":
        _reservations[port] = None
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0quell-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _reservations[port] = claim
    return True

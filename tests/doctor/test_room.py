"""Disks by the numbers."""

import pytest

from quell.doctor.asked import Failure
from quell.doctor.judgement import Level
from quell.doctor.room import GIB, MIB, Room, judge, shown


@pytest.mark.parametrize(
    ("seen", "written", "level"),
    [
        (Room(True, 50 * GIB, 100 * GIB), True, Level.OK),
        (Room(True, 2 * GIB, 10 * GIB), True, Level.OK),
        (Room(True, 2 * GIB, 100 * GIB), True, Level.WARNING),
        (Room(True, 30 * GIB, 10_000 * GIB), True, Level.OK),
        (Room(True, 900 * MIB, 2 * GIB), True, Level.WARNING),
        (Room(True, 50 * MIB, 2 * GIB), True, Level.ERROR),
        (Room(True, 50 * MIB, 2 * GIB), False, Level.WARNING),
        (Room(True, 50 * GIB, 100 * GIB, files=10), True, Level.WARNING),
        (Room(True, 50 * GIB, 100 * GIB, writable=False), True, Level.ERROR),
        (Room(True, 50 * GIB, 100 * GIB, writable=False), False, Level.OK),
        (Room(False, 0, 0), False, Level.ERROR),
        (Failure("timeout", "no answer within 5 s"), False, Level.ERROR),
    ],
)
def test_disks(seen: Room | Failure, written: bool, level: Level) -> None:
    judged = judge("/var/lib/quell", seen, written=written)
    assert judged.level is level
    assert bool(judged.advice) == (level is not Level.OK)


def test_sizes_are_said() -> None:
    assert (shown(1536 * MIB), shown(80 * MIB)) == ("1.5 GiB", "80 MiB")

"""Follows an incident at a terminal: the rows of its events, laid out and written as they come.

Never does: fetch events, decide what is told of one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import TextIO

from quell.cli.output import coloured, paint
from quell.incident.event import Event
from quell.telling.lines import Row, layout, write
from quell.telling.rows import Known, rows_of


class Follower:
    """Writes the rows of the events it is fed. Colours and wrapping only for a terminal.

    Times are seconds since the first event or, ``by_the_clock``, the time of day (UTC).
    """

    def __init__(self, stream: TextIO, *, width: int | None = None, by_the_clock: bool = False) -> None:
        self.stream = stream
        self.known = Known()
        self.seq = 0
        self._clock = by_the_clock
        self._width = width if width is not None else terminal_width(stream)
        self._status = ""

    def feed(self, events: Iterable[Event]) -> None:
        """Events of one incident, in order; one that was told already is left out."""
        for event in events:
            if event.seq <= self.seq:
                continue
            self.seq = event.seq
            self.say(*rows_of(event, self.known), at=self._at(event))

    def say(self, *rows: Row, at: str = "") -> None:
        self.status("")
        for row in rows:
            self.stream.write(written(row.timed(at) if at else row, self.stream, width=self._width))
        self.stream.flush()

    def status(self, text: str) -> None:
        """A passing line below the rest, at a terminal only; empty to take it away."""
        if not self.stream.isatty() or text == self._status:
            return
        room = (self._width or 80) - 1
        self.stream.write("\r\x1b[2K" + paint(text[:room], "dim", stream=self.stream))
        self.stream.flush()
        self._status = text

    def _at(self, event: Event) -> str:
        if self._clock or self.known.began is None:
            return f"{event.at:%H:%M:%S}"
        return f"{(event.at - self.known.began).total_seconds():.2f} s"


def written(row: Row, stream: TextIO, *, width: int | None = None, time: bool = True) -> str:
    """A row as text for this stream."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    styled = (lambda text, style: paint(text, style, stream=stream)) if coloured(stream) else (lambda text, style: text)
    return write(layout(row, width=width, time=time), styled, unicode=encoding.startswith("utf"))


def terminal_width(stream: TextIO) -> int | None:
    """Columns of a terminal, None for anything else."""
    return shutil.get_terminal_size((100, 24)).columns if stream.isatty() else None

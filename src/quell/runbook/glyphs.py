"""How wide a text will be, and how it breaks into lines, without asking a font.

The widths are those of DejaVu Sans, the widest of the fonts that ``system-ui`` and ``sans-serif`` stand for, so that
what fits here fits everywhere. Never does: measure exactly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_EM = {
    " ": 0.32, "…": 1.0, "→": 0.84, "'": 0.28, '"': 0.46, "%": 0.95, "&": 0.78, "@": 1.0, "m": 0.98, "w": 0.82,
    "W": 0.99, "M": 0.87, "_": 0.5, "-": 0.37, "/": 0.34, "·": 0.32,
    **dict.fromkeys("ijl|", 0.28), **dict.fromkeys(".,:;!", 0.34), **dict.fromkeys("frt()[]I", 0.42),
    **dict.fromkeys("csz", 0.55), **dict.fromkeys("kvxy", 0.6), **dict.fromkeys("<>=+~#", 0.84),
    **dict.fromkeys("ABEFKLPRSTXYZ", 0.69), **dict.fromkeys("CDGHNOQUV", 0.79),
}  # fmt: skip
_OTHER = 0.64
_WIDE = 1.05
MONOSPACE_EM = 0.61
BOLD = 1.1


def width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Pixels that the text takes at most, at this font size."""
    if mono:
        em = sum(_WIDE if _is_wide(letter) else MONOSPACE_EM for letter in text)
    else:
        em = sum(_WIDE if _is_wide(letter) else _EM.get(letter, _OTHER) for letter in text)
    return em * size * (BOLD if bold else 1.0)


def _is_wide(letter: str) -> bool:
    return letter > "\u02ff" and letter not in "…→·–—" and (
        unicodedata.east_asian_width(letter) in "WF" or ord(letter) > 0x2E7F
    )  # fmt: skip


def wrap(text: str, room: float, size: float, most: int, *, bold: bool = False, mono: bool = False) -> list[str]:
    """At most ``most`` lines, none wider than ``room``; what does not fit ends in an ellipsis.

    Breaks after a blank, ``_``, ``-``, ``/`` or ``.``; inside a word only when it is wider than a line, then best
    before a capital.
    """

    def fits(line: str) -> bool:
        return width(line.rstrip(), size, bold=bold, mono=mono) <= room

    lines: list[str] = []
    line = ""
    for piece in _pieces(" ".join(text.split()), fits):
        if line and not fits(line + piece):
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    if line.strip():
        lines.append(line.rstrip())
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and not fits(last + "…"):
        last = last[:-1]
    return [*lines[: most - 1], last.rstrip() + "…"]


def _pieces(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Unbreakable parts, blanks kept with the part before."""
    pieces = []
    for word in re.findall(r"[^\s_\-/.]*[\s_\-/.]+|[^\s_\-/.]+", text):
        rest = word
        while not fits(rest) and len(rest) > 1:
            ends = [n for n in range(len(rest) - 1, 0, -1) if fits(rest[:n])] or [1]
            end = next((n for n in ends if rest[n].isupper() and not rest[n - 1].isupper()), ends[0])
            pieces.append(rest[:end])
            rest = rest[end:]
        pieces.append(rest)
    return pieces

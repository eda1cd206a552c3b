"""Finds moments in text: log lines, the output of programs, ages in tables.

Read are RFC 3339 and ISO 8601, what ``date`` and ``git`` and HTTP print, web servers' and syslog's stamps, Kubernetes'
klog, release folders' fourteen digits, "5m ago", kubectl's AGE column, and epoch numbers when there is nothing else.
Never does: import more than the standard library (the log scanner runs it in a process of its own); believe a moment
that is still to come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo

SKEW_S = 300.0
"""How far ahead of ours a clock that wrote a stamp may be."""
_TEN_YEARS_S = 3660 * 86_400.0
_MONTHS = {name: number for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
)}  # fmt: skip
_MONTH_NAME = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_MONTH = f"(?P<mon>{_MONTH_NAME})[a-z]{{0,9}}"
_CLOCK = r"(?P<h>[01]\d|2[0-3]):(?P<mi>[0-5]\d):(?P<s>[0-5]\d|60)(?:[.,](?P<f>\d{1,9}))?"
_ZONE = r"(?: ?(?P<z>Z\b|[+-]\d\d:?\d\d\b|(?:UTC|GMT|EST|EDT|CST|CDT|MST|MDT|PST|PDT|CET|CEST|BST|WET|EET|JST|IST)\b))?"
_HOURS = {
    "Z": 0.0, "UTC": 0.0, "GMT": 0.0, "EST": -5.0, "EDT": -4.0, "CST": -6.0, "CDT": -5.0, "MST": -7.0, "MDT": -6.0,
    "PST": -8.0, "PDT": -7.0, "CET": 1.0, "CEST": 2.0, "BST": 1.0, "WET": 0.0, "EET": 2.0, "JST": 9.0, "IST": 5.5,
}  # fmt: skip
_ISO = re.compile(
    rf"(?<!\d)(?P<y>(?:19|20)\d\d)[-/](?P<m>0[1-9]|1[0-2])[-/](?P<d>0[1-9]|[12]\d|3[01])[T _]{_CLOCK}{_ZONE}"
)
_DAY_FIRST = re.compile(
    rf"\b(?P<d>[0-3]?\d)[ /-]{_MONTH}[ /-](?P<y>(?:19|20)\d\d)[ :]{_CLOCK}(?: (?P<ap>[AP]M))?{_ZONE}"
)
_YEAR_LAST = re.compile(
    rf"\b{_MONTH} {{1,2}}(?P<d>[0-3]?\d),? {_CLOCK}(?: (?P<ap>[AP]M))?{_ZONE} (?P<y>(?:19|20)\d\d)"
    + _ZONE.replace("<z>", "<z2>")
)
_COMPACT = re.compile(  # the year first, so that a search goes from one to the next
    r"(?P<y>20\d\d)(?<![\d.]\d{4})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])[T-]?"
    r"(?P<h>[01]\d|2[0-3])(?P<mi>[0-5]\d)(?P<s>[0-5]\d)(?P<z>Z)?(?![\d.])"
)
_SYSLOG = re.compile(rf"(?:^|(?<=>)){_MONTH} {{1,2}}(?P<d>[0-3]?\d) {_CLOCK}", re.MULTILINE)
_KLOG = re.compile(rf"^[IWEF](?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01]) {_CLOCK}", re.MULTILINE)
_FORMS = (_ISO, _DAY_FIRST, _YEAR_LAST, _COMPACT, _SYSLOG, _KLOG)
_MINUTES = re.compile(r":[0-5]\d:[0-6]\d")
_MONTH_WORD = re.compile(_MONTH_NAME)
_LONGEST_DATE = 28
"""How far before its clock a date can begin."""
_SPAN = r"(?:\d{1,9}[ydhms]){1,3}"
_AGO = re.compile(
    rf"(?:\b(?P<short>{_SPAN})|\b(?P<n>\d{{1,9}}|an?|one) "
    r"(?P<unit>second|sec|minute|min|hour|day|week|month|year)s?) ago\b"
)
_AGO_WORD = re.compile(r" ago\b")
_LONGEST_AGO = 40
_HEADER = re.compile(r"(?:AGE|LAST SEEN)(?=  |\s?$)", re.MULTILINE)
_BARE_AGE = re.compile(rf"{_SPAN}\Z")
_LAST_AGE = re.compile(r"[ydhms](?<=\d.)(?=[ \t\r]*$)", re.MULTILINE)
_SPAN_PART = re.compile(r"(\d+)([ydhms])")
_UNIT_S = {"y": 31_536_000.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WORD_S = {
    "second": 1.0, "sec": 1.0, "minute": 60.0, "min": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 604_800.0,
    "month": 2_592_000.0, "year": 31_536_000.0,
}  # fmt: skip
_EPOCH = re.compile(r"(?<![\w.:-])(\d{10}(?:\.\d{1,9})?|\d{13})(?![\w.:-]|\.\d)")
_LONG_NUMBER = re.compile(r"\d{10,}")
_DIGIT = re.compile(r"\d")
_LONGEST_LINE = 4000
LONGEST_TEXT = 256 * 1024
"""Of a longer text ``newest`` says nothing."""


def line_time(line: str, now: float, zone: tzinfo = UTC) -> float | None:
    """Epoch seconds of the first stamp in a line; None when it has none. ``now`` gives syslog's stamps their year."""
    best: tuple[int, float] | None = None
    head = line[:_LONGEST_LINE]
    for form in _FORMS:
        match = form.search(head)
        if match and (best is None or match.start() < best[0]):
            stamp = _stamp(match, now, zone)
            if stamp is not None:
                best = (match.start(), stamp)
                if match.start() == 0:
                    break
    return best[1] if best else None


def epoch_time(line: str, now: float) -> float | None:
    """The first number in a line that can be a moment of the last ten years, in seconds or milliseconds."""
    return next(_epochs(line[:_LONGEST_LINE], now), None)


def newest(text: str, now: float, zone: tzinfo = UTC) -> float | None:
    """Epoch seconds of the newest moment in a text that is not still to come; None when there is none.

    Its time grows with the length of the text and with nothing else. Raises ValueError for one over ``LONGEST_TEXT``:
    the newest moment of a part would be a guess.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"longer than {LONGEST_TEXT // 1024} KiB")
    found = [now - age for age in _ages(text)]
    if _DIGIT.search(text) is None:
        return max(found, default=None)
    found += [stamp for match in _dated(text) if (stamp := _stamp(match, now, zone)) is not None]
    past = [stamp for stamp in found if stamp <= now + SKEW_S]
    past = past or [now - age for age in _last_word_ages(text)] or list(_epochs(text, now))
    return max(past, default=None)


def _dated(text: str) -> Iterator[re.Match[str]]:
    """The dates with a clock. They are looked for around the clocks: searching for each form reads the text anew."""
    yield from _COMPACT.finditer(text)
    for minutes in _MINUTES.finditer(text):
        clock = max(0, minutes.start() - 2)
        if match := _ISO.match(text, max(0, clock - 11)) or _KLOG.match(text, max(0, clock - 6)):
            yield match
            continue
        for month in _MONTH_WORD.finditer(text, max(0, clock - _LONGEST_DATE), clock):
            at = month.start()
            days = (_DAY_FIRST.match(text, day) for day in (at - 3, at - 2) if day >= 0)
            if match := next(filter(None, days), None) or _YEAR_LAST.match(text, at) or _SYSLOG.match(text, at):
                yield match


def _stamp(match: re.Match[str], now: float, zone: tzinfo) -> float | None:
    part = match.groupdict()
    month = _MONTHS[part["mon"].lower()] if part.get("mon") else int(part["m"])
    hour = int(part["h"])
    if part.get("ap"):
        hour = hour % 12 + (12 if part["ap"] == "PM" else 0)
    fraction = float(f"0.{part['f']}") if part.get("f") else 0.0
    where = _zone(part.get("z") or part.get("z2"), zone)
    year = part.get("y")
    try:
        if year is None:
            return _of_this_year(now, month, part, hour, fraction, where)
        second = int(part["s"])
        moment = datetime(int(year), month, int(part["d"]), hour, int(part["mi"]), min(second, 59), tzinfo=where)
        return moment.timestamp() + fraction + (second == 60)
    except (ValueError, OverflowError):
        return None


def _of_this_year(
    now: float, month: int, part: dict[str, str | None], hour: int, fraction: float, zone: tzinfo
) -> float:
    """A stamp without a year is of the newest year in which it has been."""
    here = datetime.fromtimestamp(now, zone)
    minute, second, day = (int(part[name] or 0) for name in ("mi", "s", "d"))
    for year in (here.year, here.year - 1):
        if (month, day) == (2, 29) and year % 4:
            continue
        stamp = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone).timestamp() + fraction
        if stamp <= now + SKEW_S:
            return stamp
    raise ValueError("not in the last two years")


def _zone(text: str | None, zone: tzinfo) -> tzinfo:
    if text is None:
        return zone
    if text in _HOURS:
        return timezone(timedelta(hours=_HOURS[text]))
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def _span_s(text: str) -> float:
    return sum(int(amount) * _UNIT_S[unit] for amount, unit in _SPAN_PART.findall(text))


def _agos(text: str) -> Iterator[float]:
    before = 0
    for word in _AGO_WORD.finditer(text):
        match = _AGO.search(text, max(before, word.end() - _LONGEST_AGO), word.end())
        before = word.end()
        if match is None:
            continue
        if match["short"]:
            yield _span_s(match["short"])
        else:
            count = int(match["n"]) if match["n"].isdigit() else 1
            yield count * _WORD_S[match["unit"]]


def _ages(text: str) -> Iterator[float]:
    """Ages as "5m ago", and in columns headed AGE or LAST SEEN, as kubectl aligns them; there an "ago" is no age."""
    if _HEADER.search(text) is None:
        yield from _agos(text)
        return
    column = None
    for line in text.splitlines():
        header = next((one for one in _HEADER.finditer(line) if _begins_a_column(line, one.start())), None)
        if header:
            column = header.start()
        elif not line.strip():
            column = None
        if header or column is None:
            yield from _agos(line)
            continue
        word = line[column:].split(maxsplit=1)[:1]
        if word and _BARE_AGE.match(word[0]):
            yield _span_s(word[0])


def _begins_a_column(line: str, place: int) -> bool:
    return line[max(0, place - 2) : place] in ("", " ", "  ")


def _last_word_ages(text: str) -> Iterator[float]:
    """``payment-7d4 1/1 Running 0 3h27m``: a table without its header, the age last."""
    for last in _LAST_AGE.finditer(text):
        words = text[max(0, text.rfind("\n", 0, last.end()) + 1) : last.end()].rsplit(maxsplit=1)
        if len(words) > 1 and _BARE_AGE.match(words[-1]):
            yield _span_s(words[-1])


def _epochs(text: str, now: float) -> Iterator[float]:
    for number in _LONG_NUMBER.finditer(text):
        match = _EPOCH.match(text, number.start())
        if match is None:
            continue
        stamp = float(match[1]) / (1000.0 if len(match[1]) == 13 and "." not in match[1] else 1.0)
        if now - _TEN_YEARS_S <= stamp <= now + SKEW_S:
            yield stamp

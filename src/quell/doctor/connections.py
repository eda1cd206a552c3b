"""Whether each connection can be reached, takes the login, and answers soon enough.

Pure. Never does: open one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from quell.doctor.asked import Failure
from quell.doctor.clocks import Span
from quell.doctor.judgement import Judgement, error, ok, warning
from quell.runbook.vocabulary import nearest

SLOW_S = 1.0
DATABASES = frozenset({"postgresql", "postgres", "mysql", "mariadb", "sqlite"})
WEB = frozenset({"prometheus", "loki", "http"})
ASKED = DATABASES | WEB | {"redis"}
"""Types that are asked something; those of notifiers and schedules are only reached."""
_EXPECTED = "it can be reached, and takes the login"
_ADVICE = {
    "refused": "nothing listens there: start it, or correct {place}.url",
    "unreachable": "look at the network between here and there, and at {place}.url",
    "timeout": "it accepts and says nothing, or a firewall drops packets: look at it, and at {place}.url",
    "dns": "correct the host in {place}.url, or let this machine resolve it",
    "tls": "name the authority that signed its certificate, or renew the certificate",
    "denied": "correct {place}.username and {place}.password, or give that login the right to ask",
    "exhausted": "it has no connection left even for this question: free some, and keep one for Quell",
    "missing": "correct the name behind the host in {place}.url",
    "busy": "it starts or ends: look again in a moment",
    "locked": "somebody holds it: look again in a moment",
    "invalid": "correct {place}.url",
}
_OTHER = "look at what it says, and at {place}"


@dataclass(frozen=True, slots=True)
class Reached:
    """It answered. ``said``: what it is, in its own words; ``trouble``: it answered that something is wrong."""

    latency_s: float
    said: str = ""
    clock: Span | None = None
    trouble: str = ""


def judge(looked_at: str, seen: Reached | Failure, *, place: str) -> Judgement:
    """``place``: where it stands in the configuration."""
    if isinstance(seen, Failure):
        advice = _ADVICE.get(seen.error_class, _OTHER).format(place=place)
        return error("reach", looked_at, seen.words, _EXPECTED, advice)
    took = f"in {seen.latency_s * 1000:.0f} ms"
    if seen.trouble:
        expected, advice = "an answer without an error", f"look at it, and at {place}.url"
        return warning("reach", looked_at, f"{seen.trouble}, {took}", expected, advice)
    found = f"{seen.said or 'answers'} {took}"
    if seen.latency_s > SLOW_S:
        expected = f"an answer within {SLOW_S:g} s"
        return warning("reach", looked_at, found, expected, "checks wait for it: find out what makes it slow")
    return ok("reach", looked_at, found)


def unknown(name: str, kind: str, known: Iterable[str]) -> Judgement:
    """A type that nobody here asks or sends through; a plug-in of somebody else's may."""
    types = sorted(known)
    near = nearest(kind, types)
    advice = f"did you mean {near!r}?" if near else "correct its type, or install the plug-in that uses it"
    found = f"no check, action, notifier or schedule that ships uses the type {kind!r}"
    return warning("reach", f"connection {name}", found, "one of " + ", ".join(types), advice)


def known_types(others: Iterable[Collection[str]]) -> frozenset[str]:
    """``others``: the types of connection that each kind of notifier sends through, and each kind of schedule asks."""
    return ASKED.union(*others)

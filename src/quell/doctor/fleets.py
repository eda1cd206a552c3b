"""Whether the drivers of each service can tell its state, and what their account may do where a driver can say.

Pure. Never does: reach a service.
"""

from __future__ import annotations

from collections.abc import Iterable

from quell.doctor.asked import Failure
from quell.doctor.judgement import Judgement, error, listed, ok, warning
from quell.fleet import Right, ServiceState

Moved = tuple[str, ServiceState | Failure | None, tuple[Right, ...] | Failure]
"""A service, or one region of it: its name, its state (None without a driver), the rights that drivers can tell."""
_EXPECTED = "drivers that tell how many replicas are ready"


def judge(service: str, seen: ServiceState | Failure | None) -> Judgement:
    """``seen`` None: it has no driver."""
    looked_at = f"service {service}"
    if seen is None:
        return ok("driver", looked_at, "it has no driver: it is known by name, and nothing acts on it")
    if isinstance(seen, Failure):
        advice = f"correct services.{service.partition(' ')[0]}.drivers, or let the driver reach what it moves"
        if seen.error_class == "denied":
            advice += "; an account needs the right to look"
        return error("driver", looked_at, seen.words, _EXPECTED, advice)
    found = f"{seen.ready} of {seen.desired} ready" + (f", version {seen.version}" if seen.version else "")
    if seen.desired > 0 and seen.ready == 0:
        advice = "start it, or correct what the driver looks at"
        return warning("driver", looked_at, found, "at least one replica that is ready", advice)
    return ok("driver", looked_at, found)


def judge_rights(service: str, rights: Iterable[Right] | Failure) -> list[Judgement]:
    """Rights that are lacking, then those that are too many; one row when all is as it should be."""
    looked_at = f"service {service}"
    if isinstance(rights, Failure):
        advice = "look at the account's rights yourself"
        return [warning("rights", looked_at, rights.words, "it tells what the account may do", advice)]
    known = list(rights)
    lacking = [one for one in known if one.needed_for and not one.granted]
    excess = [one.name for one in known if not one.needed_for and one.granted]
    found = []
    for need in dict.fromkeys(one.needed_for for one in lacking):
        names = listed(one.name for one in lacking if one.needed_for == need)
        advice = f"grant it, or know that {need} will be refused"
        found.append(warning("rights", looked_at, f"the account may not {names}", f"the rights for {need}", advice))
    if excess:
        expected = "an account that may do what the driver does, and no more"
        found.append(warning("rights", looked_at, f"the account may {listed(excess)}", expected, "take it away"))
    granted = [one.name for one in known if one.granted]
    return found or [ok("rights", looked_at, f"the account may {listed(granted, 8)}")]

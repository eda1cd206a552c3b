"""Fees, as released in v3: waits for a risk score before it prices.

The bug is real: the score is polled four times although the scoring job was never rolled out, so every payment
waits for nothing. Restarting changes nothing about that.
"""

from __future__ import annotations

import time

FEE_PERMILLE = 14
POLLS = 4
POLL_S = 0.1
SCORES: dict[tuple[str, int], int] = {}


def fee_cents(currency: str, cents: int) -> int:
    """The fee for a payment, in cents, with a surcharge for a risky one."""
    for _ in range(POLLS):
        if (currency, cents) in SCORES:
            break
        time.sleep(POLL_S)
    surcharge = SCORES.get((currency, cents), 0)
    return max(1, cents * (FEE_PERMILLE + surcharge) // 1000)

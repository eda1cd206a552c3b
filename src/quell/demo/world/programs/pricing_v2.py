"""Fees, as released in v2: a rate per currency, for the three currencies somebody thought of.

The bug is real: users also pay in CHF and JPY, which is two payments in five.
"""

from __future__ import annotations

FEE_PERMILLE = {"EUR": 12, "USD": 14, "GBP": 13}


def fee_cents(currency: str, cents: int) -> int:
    """The fee for a payment, in cents."""
    return max(1, cents * FEE_PERMILLE[currency] // 1000)

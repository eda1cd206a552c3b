"""Fees, as released in v1: one rate for everybody."""

from __future__ import annotations

FEE_PERMILLE = 14


def fee_cents(currency: str, cents: int) -> int:
    """The fee for a payment, in cents; `currency` does not matter yet."""
    return max(1, cents * FEE_PERMILLE // 1000)

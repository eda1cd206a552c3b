"""Prices as released in v2: rates were moved to a table of their own, and one was left behind.

The bug is real: every purchase in yen fails, the others do not.
"""

RATES = {"EUR": (1.0, 2), "USD": (1.08, 2)}


def price(cents: int, currency: str) -> float:
    """The price in `currency`, rounded as that currency is."""
    rate, digits = RATES[currency]
    return round(cents / 100 * rate, digits)

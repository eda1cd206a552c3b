"""A question with a time: its answer, or why there is none.

Never does: raise for what somebody else did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from quell.errors import Permanent, QuellError, Transient
from quell.redact import KNOWN

T = TypeVar("T")
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Failure:
    """``error_class`` as ``quell.errors`` lists them; ``words`` hold no secret, as those of a plug-in."""

    error_class: str
    words: str


async def bounded(question: Awaitable[T], timeout_s: float) -> T | Failure:
    """Within the time, however it ends, in words without our secrets."""
    return KNOWN.tree(await _bounded(question, timeout_s))


async def _bounded(question: Awaitable[T], timeout_s: float) -> T | Failure:
    try:
        async with asyncio.timeout(timeout_s):
            return await question
    except TimeoutError:
        return Failure("timeout", f"no answer within {timeout_s:g} s")
    except (Permanent, Transient) as error:
        return Failure(error.error_class, str(error))
    except QuellError as error:
        return Failure("invalid", str(error))
    except OSError as error:
        return Failure("unreachable", error.strerror or type(error).__name__)
    except Exception as error:  # a plug-in of somebody else's; its words may hold anything, a secret too
        return Failure("internal", f"{type(error).__name__} in what asks")

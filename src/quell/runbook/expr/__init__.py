"""The language of conditions: CEL's grammar and meaning for what it covers, with the spellings of runbooks.

Text → ``parse`` → tree → ``check`` against the types of a scope → ``compile`` → ``Program``, which gives a value, a
yes or no that fails closed, a three-valued verdict, or an explanation clause by clause.

Where it leaves CEL, on purpose: ``/`` is exact division, NaN and values of different kinds are unknown instead of
false or unequal, comparisons do not chain, units are types. Never does: I/O, clocks, attribute access, ``eval``.
"""

from quell.runbook.expr.bounds import Bound, bounds
from quell.runbook.expr.check import check, check_condition
from quell.runbook.expr.explain import Clause, Explanation
from quell.runbook.expr.flaws import ExprError, ExprSyntaxError, ExprTypeError, Flaw
from quell.runbook.expr.parse import parse
from quell.runbook.expr.program import Program, Unknown, compile
from quell.runbook.expr.tree import Expr, render
from quell.runbook.expr.types import Absent, Flag, Scope, Type, TypeSpec, flag, list_of, parse_type, record

__all__ = [
    "Absent",
    "Bound",
    "Clause",
    "Explanation",
    "Expr",
    "ExprError",
    "ExprSyntaxError",
    "ExprTypeError",
    "Flag",
    "Flaw",
    "Program",
    "Scope",
    "Type",
    "TypeSpec",
    "Unknown",
    "bounds",
    "check",
    "check_condition",
    "compile",
    "flag",
    "list_of",
    "parse",
    "parse_type",
    "record",
    "render",
]

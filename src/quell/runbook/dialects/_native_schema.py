"""The native dialect as people write it: one model per section, snake_case or camelCase, unknown keys refused.

Never does: look at conditions or templates; those are text here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from quell.runbook.dialects._native_steps import RemediationText
from quell.runbook.dialects._native_words import (
    Condition,
    Id,
    InterpretText,
    RetryText,
    Seconds,
    Section,
    Text,
    condition,
    listed,
    retried,
)
from quell.runbook.plan import Mode, Policy

CLAUSES = ("alert_name", "labels", "matchers", "severity", "source")
"""What a trigger may ask of an alert."""


class TriggerText(Section):
    type: Literal["alert", "manual", "metric_threshold"]
    """What starts it: an alert, a person, or a metric that Quell looks at itself."""
    alert_name: str | None = None
    """The alert's name."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that the alert must have."""
    matchers: Annotated[list[Text], BeforeValidator(listed)] = Field(default_factory=list)
    """Conditions on labels as Alertmanager writes them, ``env=~"prod|stage"``: all must hold. ``alertname``,
    ``source``, ``service``, ``severity``, ``environment`` and ``region`` can be asked for like labels."""
    severity: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """One or several of P1 to P4, or words such as critical and warning: what the alert's source says."""
    source: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """One or several sources, as the configuration calls them."""
    metric_query: str | None = None
    """PromQL for ``metric_threshold``."""
    threshold: float | None = None
    """What the metric is compared with."""
    operator: Literal[">", ">=", "<", "<="] = ">"
    """How it is compared."""
    for_: Annotated[Seconds, Field(alias="for")] = 0.0
    """How long the comparison must hold."""

    @model_validator(mode="after")
    def _complete(self) -> TriggerText:
        if self.type == "alert" and not any(getattr(self, clause) for clause in CLAUSES):
            raise ValueError(f"an alert trigger needs {', '.join(CLAUSES[:-1])} or {CLAUSES[-1]}")
        if self.type == "metric_threshold" and (self.metric_query is None or self.threshold is None):
            raise ValueError("a metric_threshold trigger needs metric_query and threshold")
        return self


class DiagnosticText(Section):
    id: Id
    """What conditions call it."""
    name: Text = ""
    """What people call it."""
    description: Text = ""
    """Why one looks there."""
    type: str
    """Which [check](checks.md)."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; templates are filled."""
    timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0
    """How long it may take; it never delays the others."""
    interpret: InterpretText = InterpretText()
    """What its facts mean."""
    needs: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """Checks that must be done before."""
    retry: Annotated[RetryText | None, BeforeValidator(retried)] = None
    """For failures that may pass."""


class DecisionText(Section):
    condition: Condition | None = None
    """When it is recommended."""
    otherwise: bool = False
    """Recommended when none before it is."""
    then: Annotated[list[str], BeforeValidator(listed), Field(min_length=1)]
    """Remediations, in order."""
    description: Text = ""
    """Why, for the people who read the decision."""

    @model_validator(mode="after")
    def _either(self) -> DecisionText:
        if (self.condition is None) == (not self.otherwise):
            raise ValueError("give either condition or otherwise: true")
        return self


class RequireText(Section):
    """A condition or PromQL alone, or a check: its type with its parameters, in ``config`` or beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    condition: Text | None = None
    """A condition over the facts of checks, or a comparison in PromQL; it may stand alone, without the key."""
    type: str = "prometheus_query"
    """Which [check](checks.md)."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; templates are filled."""
    interpret: InterpretText | None = None
    """When the check is ``healthy``; without it, when its query gives a series."""

    @model_validator(mode="after")
    def _one(self) -> RequireText:
        if (self.condition is None) == (not self.config and not self.model_extra):
            raise ValueError("give either a condition or a check")
        return self


def _require(value: Any) -> Any:
    if value is not None and not isinstance(value, str | bool | dict):
        raise ValueError("a condition, a comparison in PromQL or a check is expected here")
    return {"condition": condition(value)} if isinstance(value, str | bool) else value


Improved = Literal[
    "resolve", "mitigate", "next", "diagnose", "page", "undo_and_page", "keep_and_page", "keep_and_diagnose"
]


class VerifyText(Section):
    signals: Annotated[list[str], BeforeValidator(listed), Field(min_length=1)] = Field(
        default_factory=lambda: ["trigger"]
    )
    """What must be well: ``trigger`` is the alert itself, other names are diagnostics."""
    stable_for: Seconds = 30.0
    """How long they must stay well."""
    within: Annotated[Seconds, Field(gt=0)] | None = None
    """When to stop waiting; by default as long as the signals need."""
    every: Annotated[Seconds, Field(gt=0)] | None = None
    """How often to look."""
    require: Annotated[RequireText | None, BeforeValidator(_require)] = None
    """What must be true for a verdict to mean anything, such as enough traffic: a condition, PromQL, or a check."""
    on_recovered: Literal["resolve", "mitigate"] = "resolve"
    """All signals well for ``stable_for``."""
    on_improved: Improved = "diagnose"
    """Better, and not well."""
    on_unchanged: Policy = "next"
    """As bad as before."""
    on_worse: Policy = "undo_and_page"
    """Worse than before."""
    on_cannot_tell: Policy = "page"
    """No data, or what is required does not hold."""


class EscalationText(Section):
    primary: str
    """Whom to page: a [notifier](notifiers.md) by name or prefix."""
    secondary: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """Whom to page when the first does not acknowledge; of several, one after the other."""
    escalate_after_minutes: Annotated[float, Field(gt=0, le=10_080)] = 30.0
    """How long each has."""
    repage_after_minutes: Annotated[float, Field(ge=0, le=10_080)] = 30.0
    """How long an acknowledgement counts while nothing else is heard of whoever gave it; then everybody is paged again.
    0: for good."""
    page: Literal["immediately"] | None = None
    """Page at once, while the diagnostics still run."""


class RateLimitText(Section):
    max_concurrent: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many of its incidents are worked on at once, of each tenant; one that waits for a person does not count."""
    queue_size: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many more may wait for their turn, the most severe first. For one more than that a person is paged at
    once."""
    timeout_seconds: Annotated[Seconds, Field(gt=0, le=7 * 86_400)] = 1800.0
    """How long one may wait for its turn, and how long it may then be worked on, until a person is paged. What waits
    for people does not count."""


class RunbookText(Section):
    id: Id
    """Its name everywhere; unique."""
    name: Text = ""
    """What people call it."""
    description: Text = ""
    """What it is for."""
    severity: Literal["P1", "P2", "P3", "P4"] = "P3"
    """Of the incidents it handles, when the alert says none."""
    service: str | None = None
    """The catalogue's service it is about."""
    owner: str = ""
    """The team that answers for it."""
    mode: Mode = "auto"
    """``approve`` asks before every action, ``dry_run`` only says what it would do, ``shadow`` also compares it with
    what people did."""
    triggers: Annotated[list[TriggerText], Field(min_length=1)]
    """When it is meant."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Of runbooks that an alert means equally, the one with the highest goes first."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Values for templates and conditions."""
    diagnostics: list[DiagnosticText] = Field(default_factory=list)
    """What to look at, in parallel."""
    decision_tree: list[DecisionText] = Field(default_factory=list)
    """What to do about it: every decision that holds is recommended, in this order."""
    decision_mode: Literal["first", "all"] = "first"
    """``first``: one after another, each verified, until recovered; ``all``: all, then verify."""
    max_rounds: Annotated[int, Field(ge=1, le=20)] = 5
    """How often it may decide again."""
    remediations: list[RemediationText] = Field(default_factory=list)
    """What can be done."""
    verify: VerifyText | None = None
    """How to tell that it worked."""
    escalation: EscalationText | None = None
    """Who is told when nothing helps."""
    rate_limit: RateLimitText | None = None
    """How many of its incidents are worked on at once."""

"""A field of an alert, as a site says where it stands in a body: a path, a default, the words that it is told in.

Faults of an item raise ``Bad`` with the place in the body. Never does: fill in what neither the body nor the site says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from quell.incident.alert import AlertStatus, Severity, severity_of
from quell.plugins.sources._body import short
from quell.plugins.sources._fields import Bad
from quell.plugins.sources._paths import NOWHERE, PathText, at, checked, shown
from quell.plugins.sources._scalars import spoken, text
from quell.ports import Params, at_fault


def _as_text(value: Any) -> Any:
    """A word is a text in a body, or a number, or true; a person need not quote it."""
    return spoken(value) if isinstance(value, bool | int | float) else value


def listed(value: Any) -> Any:
    return [_as_text(one) for one in value] if isinstance(value, list | tuple) else [_as_text(value)]


def named(value: Any) -> Any:
    return {_as_text(name): one for name, one in value.items()} if isinstance(value, dict) else value


Words = Annotated[tuple[str, ...], BeforeValidator(listed)]
"""Case does not matter."""
Paths = Annotated[tuple[PathText, ...], BeforeValidator(listed)]
Conditions = dict[PathText, Annotated[Words, Field(min_length=1)]]


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a body, with the place where it stands."""

    place: str
    value: Any
    body: Any

    def at(self, path: str) -> Any:
        return at(path, self.body, self.value)

    def shown(self, path: str) -> str:
        return shown(self.place, path)

    def text(self, path: str) -> str | None:
        """None when nothing is there, or null."""
        found = self.at(path)
        return None if found is NOWHERE or found is None else text(self.shown(path), found)

    def is_one_of(self, path: str, words: Iterable[str]) -> bool | None:
        """Whether what is there is one of these words; None when nothing is there."""
        found = self.text(path)
        return None if found is None else word(found) in map(word, words)


def word(value: str) -> str:
    return value.strip().casefold()


class Mapped(Params):
    """Where a field stands: its path alone, or with more to say of it."""

    path: PathText | None = None
    """``labels.name``, ``tags[0]``, ``meta["k8s.io/app"]``; ``$.name`` begins at the body instead of the item."""
    default: str | None = None
    """What holds where an item has nothing there (empty: it then goes without). Without a default, such an item is
    quarantined. A default without a path always holds."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, given: Any) -> Any:
        return {"path": checked(given)} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.path is None and self.default is None:
            raise ValueError("a path or a default is expected here")
        return self

    def of(self, item: Item) -> str:
        """Raises ``Bad``."""
        found = item.text(self.path) if self.path is not None else None
        if found is None and self.default is None and self.path is not None:
            raise Bad(f"{item.shown(self.path)}: missing")
        return self.default or "" if found is None else found


class MappedSeverity(Mapped):
    """Where the severity stands, in words such as critical, error, warning, P1; a word that says nothing is none."""

    words: Annotated[dict[str, Severity], BeforeValidator(named)] = Field(default_factory=dict)
    """What the body's own words mean: ``{disaster: P1, 4: P2}``."""

    def severity(self, item: Item) -> Severity | None:
        said = self.of(item)
        own = {word(name): severity for name, severity in self.words.items()}
        return own.get(word(said)) or severity_of(said)


class MappedStatus(Params):
    """Where it stands whether the alert goes on, and the words for it."""

    path: PathText | None = "status"
    """Where that stands."""
    firing: Annotated[Words, Field(min_length=1)] = ("firing",)
    """The words for an alert that fires."""
    resolved: Words = ("resolved",)
    """The words for one that has resolved."""
    acknowledged: Words = ()
    """The words for one that somebody is on; it goes on firing."""
    default: AlertStatus | None = None
    """What holds where an item has nothing there. Without a default, such an item is quarantined, as is one whose word
    is none of these."""

    @model_validator(mode="after")
    def _a_word_means_one_thing(self) -> Self:
        seen: dict[str, str] = {}
        for status, words in self._lists.items():
            for one in dict.fromkeys(word(one) for one in words):
                if one in seen:
                    raise at_fault(("status", status.value), f"{one!r} is one of the words for {seen[one]} already")
                seen[one] = status.value
        return self

    @property
    def _lists(self) -> Mapping[AlertStatus, tuple[str, ...]]:
        return {
            AlertStatus.FIRING: self.firing, AlertStatus.RESOLVED: self.resolved,
            AlertStatus.ACKNOWLEDGED: self.acknowledged,
        }  # fmt: skip

    def of(self, item: Item) -> AlertStatus:
        """Raises ``Bad``."""
        path = self.path
        found = item.text(path) if path is not None else None
        if path is None or found is None:
            if self.default is None:
                raise Bad(f"{item.shown(path)}: missing" if path else "no status")
            return self.default
        for status, words in self._lists.items():
            if word(found) in map(word, words):
                return status
        known = ", ".join(one for words in self._lists.values() for one in words)
        raise Bad(f"{item.shown(path)}: {short(found)}, not one of {known}")

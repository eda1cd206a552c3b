"""The registry finds every plug-in by its name and its aliases, and loads no action where none may run."""

from __future__ import annotations

import types

import pytest

from quell.errors import NotFound
from quell.registry import BadPlugin, Registry, _action, _check, _driver

ALL = Registry()


@pytest.mark.parametrize("kind", ["checks", "actions", "drivers", "notifiers", "sources", "schedules"])
def test_every_plugin_is_found_under_its_names_and_no_name_means_two(kind: str) -> None:
    table = getattr(ALL, kind)
    assert table
    names = [name for one in table.values() for name in (one.name, *getattr(one, "aliases", ()))]
    assert len(names) == len(set(names))
    find = getattr(ALL, kind.removesuffix("s"))
    for one in table.values():
        assert one.doc
        for name in (one.name, *getattr(one, "aliases", ())):
            assert find(name) is one


def test_a_name_that_is_not_there_has_a_nearest() -> None:
    with pytest.raises(NotFound) as lost:
        ALL.action("restart_servce")
    assert (lost.value.kind, lost.value.nearest) == ("action type", "restart_service")


def test_where_nothing_may_be_done_no_action_exists() -> None:
    quiet = Registry(observe_only=True)
    assert quiet.actions == {}
    assert quiet.checks == ALL.checks
    with pytest.raises(NotFound):
        quiet.action("run_script")


@pytest.mark.parametrize(("make", "says"), [(_check, "facts"), (_action, "Params"), (_driver, "CAPABILITIES")])
def test_a_module_that_lacks_something_is_refused(make: object, says: str) -> None:
    with pytest.raises(BadPlugin, match=says):
        make("half", types.ModuleType("half"))  # type: ignore[operator]

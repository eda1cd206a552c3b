"""A service whose regions have drivers of their own: an action inside ``for_each`` over the region acts on that one.

Every region is a real supervisord with three real replicas and real release folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from quell.incident.event import EventKind
from tests.app import VERIFY, house, runbook
from tests.plugins.drivers.payment import NAMES, PASSWORD_VARIABLE, Payment, make_release, payment

pytestmark = pytest.mark.anyio

BAD = "bad-regions"
CHECK = (
    f"{{id: errors, type: shell_command, config: {{command: [@/{BAD}]}}, "
    "interpret: {healthy: line_count == 0, critical: line_count > 0}}"
)
LIST = '#!/bin/sh\nfor region in eu us ap; do [ "$(cat @/$region/current/VERSION)" = v2 ] && echo $region; done; true\n'
DECIDE = "- {condition: errors.critical, then: [back]}"
BACK = """
- id: back
  type: automated
  for_each: {region: '${errors.lines}', batch: 1, stop_on: worse}
  action: {type: rollback, config: {ready_within: 20s}}
"""
SEEN = VERIFY.replace("[state]", "[errors]").replace("1.5s", "10s")
TEXT = runbook(DECIDE, BACK, diagnostics=f"- {CHECK}", verify=SEEN)


@pytest.fixture
def regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Payment]]:
    """Two regions on the bad v2, one still on v1."""
    with ExitStack() as stack:
        made = {}
        for name, version in (("eu", "v2"), ("us", "v2"), ("ap", "v1")):
            folder = tmp_path / name
            folder.mkdir()
            if version != "v1":
                make_release(folder, "v1")
            made[name] = stack.enter_context(payment(folder, version=version))
        monkeypatch.setenv(PASSWORD_VARIABLE, made["eu"].supervisord.password)
        (tmp_path / BAD).write_text(LIST.replace("@/", f"{tmp_path}/"))
        (tmp_path / BAD).chmod(0o755)
        yield made


def catalogue(regions: dict[str, Payment], **more: Any) -> str:
    drivers = [
        {**choice, "region": name}
        for name, one in regions.items()
        for choice in (one.supervisord_choice, one.haproxy_choice, one.releases_choice)
    ]
    return json.dumps({"shop": {"regions": list(regions), "drivers": drivers, **more}})


def pids(one: Payment) -> set[int]:
    return {one.supervisord.program_pid(f"payment:{name}") for name in NAMES}


async def test_only_the_bad_regions_are_rolled_back_one_after_the_other(
    tmp_path: Path, regions: dict[str, Payment]
) -> None:
    before = {name: pids(one) for name, one in regions.items()}
    async with house(tmp_path, TEXT, services=catalogue(regions)) as home:
        incident = await home.fire()
        assert (await home.over(incident)).outcome == "resolved"
        intended = await home.told_of(incident, EventKind.ACTION_INTENDED)
        finished = await home.told_of(incident, EventKind.ACTION_FINISHED)
        order = [
            (event.kind, event.payload["target"] if event.kind is EventKind.ACTION_FINISHED else event.payload["call"])
            for event in await home.events(incident, EventKind.ACTION_INTENDED, EventKind.ACTION_FINISHED)
        ]
    calls = [f"roll back shop in {name} from v2 to v1" for name in ("eu", "us")]
    assert [one["call"] for one in intended] == calls
    assert intended[0]["targets"] == [f"shop/eu/{name}" for name in NAMES]
    assert [(one["target"], one["result"]) for one in finished] == [("eu", "done"), ("us", "done")]
    assert [what for _, what in order] == [calls[0], "eu", calls[1], "us"]
    assert {name: one.folder.joinpath("current").resolve().name for name, one in regions.items()} == {
        "eu": "v1", "us": "v1", "ap": "v1",
    }  # fmt: skip
    assert {name: bool(pids(one) & before[name]) for name, one in regions.items()} == {
        "eu": False, "us": False, "ap": True,
    }  # fmt: skip


async def test_a_region_that_no_driver_serves_is_refused(tmp_path: Path, regions: dict[str, Payment]) -> None:
    served = {name: one for name, one in regions.items() if name != "eu"}
    async with house(tmp_path, TEXT, services=catalogue(served)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        refused = await home.told_of(incident, EventKind.ACTION_REFUSED)
        intended = await home.told_of(incident, EventKind.ACTION_INTENDED)
    assert intended == [], "a pass that was refused stops those after it"
    assert "no driver serves region 'eu'; served are us, ap" in refused[0]["reason"]

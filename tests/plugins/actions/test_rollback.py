"""Rolling a service of real processes back to an earlier release."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.plugins.actions import rollback
from quell.plugins.actions.rollback import Params
from quell.registry import Registry
from tests.plugins.actions.processes import BEGIN, probe_for, running

pytestmark = pytest.mark.anyio
RELEASES = ["v1", "v2", "v3"]


@pytest.mark.parametrize(
    ("to", "version"), [("previous", "v2"), ("v1", "v1"), ({"version": "v1", "exists": True}, "v1")]
)
async def test_every_replica_ends_on_the_wanted_release(to: object, version: str) -> None:
    with running(2, releases_=RELEASES, current="v3") as service:
        async with probe_for(service) as probe:
            params = Params.model_validate({"service": "payment", "to": to})
            preview = await rollback.dry_run(params, probe)
            assert service.events == []
            effect = await rollback.execute(params, probe)
        assert {copy.version for copy in service.copies.values()} == {version}
        assert service.events[0] == f"activate {version}"
        assert service.fewest == 1
    assert preview.call == f"roll back payment from v3 to {version}"
    assert preview.targets == ("payment/pay-1", "payment/pay-2")
    assert preview.facts["wanted"] == version
    live_since = BEGIN + timedelta(days=RELEASES.index("v3"))
    assert preview.facts["release_age_s"] == pytest.approx((datetime.now(UTC) - live_since).total_seconds(), abs=60)
    assert (preview.undo, effect.undo) == (None, None)
    assert (effect.output["from"], effect.output["to"]) == ("v3", version)


async def test_the_reference_pages_spelling() -> None:
    with running(1, releases_=RELEASES, current="v3") as service:
        async with probe_for(service) as probe:
            written = {"deployment": "payment-service", "namespace": "production"}
            await rollback.execute(Params.model_validate(written), probe)
        assert service.current == "v2"


async def test_without_a_release_before_there_is_nothing_to_go_back_to() -> None:
    with running(1, releases_=["v1"], current="v1") as service:
        async with probe_for(service) as probe:
            for call in (rollback.dry_run, rollback.execute):
                with pytest.raises(Permanent, match="no release before") as caught:
                    await call(Params(service="payment"), probe)
                assert caught.value.error_class == "missing"
        assert service.events == []


async def test_going_back_twice_needs_the_name_of_the_release() -> None:
    """v3 to v2 makes v2 neither young nor the last good one: v1 is for a person to ask for."""
    with running(1, releases_=RELEASES, current="v3") as service:
        async with probe_for(service) as probe:
            await rollback.execute(Params(service="payment"), probe)
            done = list(service.events)
            for call in (rollback.dry_run, rollback.execute):
                with pytest.raises(Permanent, match="v2 is current and is older than v3") as caught:
                    await call(Params(service="payment"), probe)
                assert caught.value.error_class == "refused"
            assert service.events == done
            preview = await rollback.dry_run(Params(service="payment", to="v1"), probe)
    age = datetime.now(UTC) - (BEGIN + timedelta(days=RELEASES.index("v2")))
    assert preview.facts["release_age_s"] == pytest.approx(age.total_seconds(), abs=60)


async def test_an_unknown_release_is_refused_with_those_there_are() -> None:
    with running(1, releases_=RELEASES, current="v3") as service:
        async with probe_for(service) as probe:
            with pytest.raises(Permanent, match="no release 'v9'; it has v1, v2, v3"):
                await rollback.dry_run(Params(service="payment", to="v9"), probe)


async def test_a_release_with_irreversible_migrations_is_not_left_by_itself() -> None:
    with running(1, releases_=RELEASES, current="v3", irreversible=frozenset({"v3"})) as service:
        async with probe_for(service) as probe:
            with pytest.raises(Permanent, match="cannot be reversed") as caught:
                await rollback.execute(Params(service="payment"), probe)
            assert caught.value.error_class == "refused"
            assert service.events == []
            await rollback.execute(Params(service="payment", despite_migrations=True), probe)
        assert service.current == "v2"


async def test_a_version_named_twice_acts_once() -> None:
    with running(2, releases_=RELEASES, current="v3") as service:
        async with probe_for(service) as probe:
            await rollback.execute(Params(service="payment", to="v2"), probe)
            done = list(service.events)
            again = await rollback.execute(Params(service="payment", to="v2"), probe)
        assert service.events == done
    assert not again.changed


async def test_an_activated_release_that_the_replicas_do_not_run_yet_is_finished() -> None:
    with running(2, releases_=RELEASES, current="v3") as service:
        await service.rollback("v2")  # and the process that did it died before the restart
        async with probe_for(service) as probe:
            effect = await rollback.execute(Params(service="payment", to="v2"), probe)
        assert {copy.version for copy in service.copies.values()} == {"v2"}
    assert effect.changed


async def test_a_previous_release_that_does_not_get_ready_leaves_the_others_alone() -> None:
    with running(3, releases_=["broken-v1", "v2"], current="v2") as service:
        async with probe_for(service) as probe:
            with pytest.raises(Permanent, match="so far: pay-1 restarted") as caught:
                await rollback.execute(Params(service="payment", ready_within=0.2), probe)
        assert caught.value.error_class == "timeout"
        assert [copy.version for copy in service.copies.values()] == ["broken-v1", "v2", "v2"]


async def test_the_facts_say_wanted_only_where_it_cannot_drift() -> None:
    with running(2, releases_=RELEASES, current="v3") as service:
        async with probe_for(service) as probe:
            named = await rollback.observe(Params(service="payment", to="v2"), probe)
            previous = await rollback.observe(Params(service="payment"), probe)
            service.current = "v2"
            await service.restart(["pay-1"])
            mixed = await rollback.observe(Params(service="payment", to="v2"), probe)
    assert (named.facts["wanted"], named.facts["version"]) == ("v2", "v3")
    assert "wanted" in previous.missing
    assert mixed.facts["version"] == "v2, v3"


async def test_a_service_that_cannot_roll_back_says_what_it_can() -> None:
    with running(1, can=frozenset({"state", "restart"})) as service:
        async with probe_for(service) as probe:
            with pytest.raises(Permanent, match="no driver that can rollback; it can restart, state"):
                await rollback.dry_run(Params(service="payment"), probe)


@pytest.mark.parametrize("to", [None, "", {"exists": False}, 7])
def test_a_version_must_be_a_text(to: object) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate({"service": "payment", "to": to})


def test_the_aliases_of_the_reference_page() -> None:
    assert Registry().action("rollback_deploy").name == "rollback"

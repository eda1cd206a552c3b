"""One region of a service: only its drivers are asked and moved, and what cannot be limited to it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import Permanent
from quell.fleet import Replica, ServiceState
from quell.incident.service import DriverChoice, Service
from quell.plugins.actions import restart_service, rollback, scale_up
from quell.plugins.actions._fleet import only, radius_of
from quell.plugins.checks import deployments
from tests.plugins.actions.processes import probe_for, probe_for_regions, running
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio
CALLS = (
    (restart_service, {}, "restart payment in us-east: pay-1, pay-2, 1 at a time", "payment/us-east/pay-1"),
    (rollback, {}, "roll back payment in us-east from v2 to v1", "payment/us-east/pay-1"),
    (scale_up, {"by": 1}, "scale payment in us-east to 3 replicas", "payment/us-east"),
)


@pytest.mark.parametrize(("action", "more", "call", "target"), CALLS)
async def test_an_action_on_a_region_leaves_the_others_alone(action, more, call, target) -> None:
    with running(3) as eu, running(2) as us:
        async with probe_for_regions(eu_west=eu, us_east=us) as probe:
            params = action.Params.model_validate({"service": "payment", "region": "us-east", **more})
            preview = await action.dry_run(params, probe)
            assert us.events == []
            effect = await action.execute(params, probe)
            seen = await action.observe(params, probe)
        assert eu.events == []
        assert us.events != []
        count = len(us.copies)
    assert (preview.call, preview.targets[0]) == (call, target)
    assert "payment in us-east" in effect.summary
    assert (seen.facts["ready_count"], seen.facts["total_count"]) == (count, count)
    assert [one.target for one in seen.targets][:1] == ["payment/us-east/pay-1"]


@pytest.mark.parametrize(("action", "more"), [(action, more) for action, more, _, _ in CALLS])
async def test_a_region_that_nobody_can_be_limited_to_is_refused(action, more) -> None:
    def of(region):
        return action.Params.model_validate({"service": "payment", "region": region, **more})

    with running(1) as eu, running(1) as us:
        async with probe_for_regions(eu_west=eu, us_east=us) as probe:
            for params, words in (
                (of("ap-south"), "no driver serves region 'ap-south'; served are eu-west, us-east"),
                (of(None), "has drivers for each of eu-west, us-east: say which region is meant"),
            ):
                for step in (action.dry_run, action.execute):
                    with pytest.raises(Permanent, match=words) as caught:
                        await step(params, probe)
                    assert caught.value.error_class == "refused"
        async with probe_for(eu) as probe:
            with pytest.raises(Permanent, match=r"do not all say which region they serve \(processes\)") as caught:
                await action.execute(of("eu-west"), probe)
            assert caught.value.error_class == "refused"
        assert eu.events == us.events == []


async def test_one_driver_that_serves_no_region_in_particular_spoils_the_limit() -> None:
    choices = (DriverChoice(type="a", region="eu"), DriverChoice(type="haproxy"))
    async with probe_over(services=[Service(name="payment", drivers=choices)]) as probe:
        with pytest.raises(Permanent, match=r"\(haproxy\), so nothing can be limited to 'eu'"):
            await restart_service.dry_run(restart_service.Params(service="payment", region="eu"), probe)


async def test_the_undo_of_scale_up_is_of_its_region() -> None:
    with running(3) as eu, running(2) as us:
        async with probe_for_regions(eu_west=eu, us_east=us) as probe:
            params = scale_up.Params(service="payment", region="us-east", by=2)
            effect = await scale_up.execute(params, probe)
            await scale_up.undo(params, effect, probe)
        assert (eu.events, us.events) == ([], ["scale 4", "scale 2"])


async def test_a_deploy_is_that_of_the_region_or_the_last_of_all() -> None:
    with (
        running(1, releases_=["v1", "v2"], current="v2") as eu,
        running(1, releases_=["v1", "v2", "v3"], current="v3") as us,
    ):
        async with probe_for_regions(eu_west=eu, us_east=us) as probe:
            last = await deployments.run(deployments.Params(service="payment"), probe)
            one = await deployments.run(deployments.Params(service="payment", region="eu-west"), probe)
    assert (last.facts["version"], last.evidence["region"]) == ("v3", "us-east")
    assert (one.facts["version"], one.evidence["region"]) == ("v2", "eu-west")
    assert one.summary.startswith("v2 in eu-west, live for")


REPLICAS = st.lists(st.booleans(), min_size=1, max_size=6)


def states(ready: list[bool]) -> ServiceState:
    made = tuple(Replica(f"r{number}", one) for number, one in enumerate(ready))
    return ServiceState(replicas=made, desired=len(made))


@pytest.mark.parametrize(
    ("ready", "chosen", "batch", "radius"),
    [
        ("+++", "012", 1, (1, 3, 3, 2)),
        ("+++", "012", 3, (3, 3, 3, 0)),
        ("+++", "012", 2, (2, 3, 3, 1)),
        ("+--", "012", 1, (1, 3, 1, 1)),  # the broken ones go first, and are back before the last healthy one goes
        ("+--", "0", 1, (1, 3, 1, 0)),
        ("+--", "12", 2, (2, 3, 1, 1)),
        ("---", "012", 1, (1, 3, 0, 0)),
        ("+", "0", 1, (1, 1, 1, 0)),
    ],
)
def test_what_a_restart_takes_away(ready: str, chosen: str, batch: int, radius: tuple[int, int, int, int]) -> None:
    state = states([one == "+" for one in ready])
    some = only(state, [f"r{number}" for number in chosen], "shop")
    found = radius_of(state, some, batch, rolls_by_itself=False)
    assert found is not None
    assert (found.at_once, found.of, found.healthy, found.healthy_left) == radius
    assert radius_of(state, some, batch, rolls_by_itself=True) is None


@given(REPLICAS, st.integers(1, 6))
def test_never_fewer_are_left_than_a_batch_can_take(ready: list[bool], batch: int) -> None:
    state = states(ready)
    found = radius_of(state, state, batch, rolls_by_itself=False)
    assert found is not None
    assert max(0, state.ready - batch) <= found.healthy_left <= state.ready
    assert found.at_once == min(batch, len(ready))

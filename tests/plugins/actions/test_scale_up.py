"""Scaling a service of real processes up, and back."""

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.plugins.actions import scale_up
from quell.plugins.actions.scale_up import Params
from tests.plugins.actions.processes import probe_for, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("written", [{"by": 2}, {"to": 4}, {"replicas": 4}, {"instances": 2}])
async def test_the_replicas_are_added_and_ready(written: dict[str, int]) -> None:
    with running(2) as service:
        async with probe_for(service) as probe:
            params = Params.model_validate({"service": "payment", **written})
            preview = await scale_up.dry_run(params, probe)
            assert len(service.copies) == 2
            effect = await scale_up.execute(params, probe)
            assert service.in_service() == 4
            back = await scale_up.undo(params, effect, probe)
        assert len(service.copies) == 2
    assert (preview.magnitude, preview.before, preview.after) == (2, "2 replicas", "4 replicas")
    assert preview.undo == "scale payment back to 2 replicas"
    assert back.summary == "scaled payment back to 2 replicas"


async def test_to_what_it_has_changes_nothing() -> None:
    with running(2) as service:
        async with probe_for(service) as probe:
            effect = await scale_up.execute(Params(service="payment", to=2), probe)
        assert (effect.changed, service.events) == (False, [])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"to": 1}, "does not go down"),
        ({"by": 3, "max": 4}, "5 replicas of payment is over the limit of 4"),
        ({"to": 6, "max_added": 3}, "4 new replicas of payment is over the limit of 3"),
    ],
)
async def test_over_a_limit_is_refused_not_cut_down(written: dict[str, int], words: str) -> None:
    with running(2) as service:
        async with probe_for(service) as probe:
            for call in (scale_up.dry_run, scale_up.execute):
                with pytest.raises(Permanent, match=words) as caught:
                    await call(Params.model_validate({"service": "payment", **written}), probe)
                assert caught.value.error_class == "refused"
        assert service.events == []


async def test_replicas_that_do_not_get_ready_are_said() -> None:
    with running(1) as service:
        service.current = "broken-v3"
        async with probe_for(service) as probe:
            with pytest.raises(Permanent, match="so far: scale 2") as caught:
                await scale_up.execute(Params(service="payment", by=1, ready_within=0.2), probe)
    assert caught.value.error_class == "timeout"


async def test_the_undo_leaves_alone_what_somebody_else_has_scaled() -> None:
    with running(1) as service:
        async with probe_for(service) as probe:
            params = Params(service="payment", by=1)
            effect = await scale_up.execute(params, probe)
            await service.scale(5)
            with pytest.raises(Permanent, match="somebody scaled it since"):
                await scale_up.undo(params, effect, probe)
            assert len(service.copies) == 5
            await service.scale(1)
            assert not (await scale_up.undo(params, effect, probe)).changed


@pytest.mark.parametrize("written", [{}, {"by": 1, "to": 2}, {"by": 0}, {"to": -1}])
def test_just_one_way_of_saying_how_many(written: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate({"service": "payment", **written})

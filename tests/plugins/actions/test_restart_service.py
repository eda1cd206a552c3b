"""Restarting a service of real processes, replica by replica."""

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.actions import restart_service
from quell.plugins.actions.restart_service import Params
from quell.registry import Registry
from tests.plugins.actions.processes import probe_for, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "written",
    [
        "payment",
        {"service": "payment"},
        {"target": "payment"},
        {"deployment": "payment-service", "namespace": "production"},
        {"service": "payment", "batch": 1, "readyWithin": "1m"},
    ],
)
async def test_every_spelling_restarts_all_one_by_one(written: object) -> None:
    with running(3) as service:
        old = {name: copy.process.pid for name, copy in service.copies.items()}
        async with probe_for(service) as probe:
            effect = await restart_service.execute(Params.model_validate(written), probe)
        assert all(service.copies[name].process.pid != pid for name, pid in old.items())
        assert service.events == [
            f"{what} {name}" for name in ("pay-1", "pay-2", "pay-3") for what in ("drain", "restart", "undrain")
        ]
        assert service.fewest == 2
    assert effect.changed
    assert effect.output["replicas"] == ["pay-1", "pay-2", "pay-3"]


@pytest.mark.parametrize(
    "written",
    [{}, {"service": ""}, {"service": "a", "deployment": "b"}, {"service": "a", "batch": 0}, {"service": "a", "x": 1}],
)
def test_wrong_parameters_are_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate(written)


async def test_the_dry_run_names_the_replicas_and_changes_nothing() -> None:
    with running(2) as service:
        async with probe_for(service) as probe:
            preview = await restart_service.dry_run(Params(service="payment"), probe)
        assert service.events == []
    assert preview.targets == ("payment/pay-1", "payment/pay-2")
    assert preview.call == "restart payment: pay-1, pay-2, 1 at a time"
    assert (preview.before, preview.magnitude, preview.undo) == ("2 of 2 ready", 2, None)


async def test_named_replicas_only() -> None:
    with running(3) as service:
        async with probe_for(service) as probe:
            params = Params(service="payment", replicas=("pay-2",))
            preview = await restart_service.dry_run(params, probe)
            await restart_service.execute(params, probe)
        assert service.events == ["drain pay-2", "restart pay-2", "undrain pay-2"]
    assert preview.targets == ("payment/pay-2",)


async def test_a_replica_that_is_not_there_is_named() -> None:
    with running(1) as service:
        async with probe_for(service) as probe:
            with pytest.raises(Permanent, match="no replica pay-9; it has pay-1"):
                await restart_service.execute(Params(service="payment", replicas=("pay-9",)), probe)
        assert service.events == []


async def test_it_stops_at_the_first_that_does_not_get_ready() -> None:
    with running(3) as service:
        service.current = "broken-v3"
        async with probe_for(service) as probe:
            with pytest.raises(Permanent) as caught:
                await restart_service.execute(Params(service="payment", ready_within=0.2), probe)
        assert service.events == ["drain pay-1", "restart pay-1"]
    assert caught.value.error_class == "timeout"
    assert str(caught.value).endswith("so far: pay-1 restarted and still drained")


async def test_a_failure_after_the_first_change_is_not_tried_again_from_the_start() -> None:
    def fail_at_the_second(names: Sequence[str]) -> None:
        if "pay-2" in names:
            raise Transient("the supervisor does not answer", "unreachable")

    with running(2) as service:
        service.before_restart = fail_at_the_second
        async with probe_for(service) as probe:
            with pytest.raises(Permanent, match="so far: pay-1 restarted, in service; pay-2 was being restarted"):
                await restart_service.execute(Params(service="payment"), probe)


async def test_cancelling_says_how_far_it_came() -> None:
    with running(2) as service:
        service.current = "broken-v3"
        async with probe_for(service) as probe:
            task = asyncio.create_task(restart_service.execute(Params(service="payment", ready_within=60), probe))
            while "restart pay-1" not in service.events:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
        assert service.events == ["drain pay-1", "restart pay-1"]
    assert caught.value.__notes__ == ["cancelled; so far: pay-1 restarted and still drained"]


async def test_a_system_that_rolls_by_itself_is_asked_once() -> None:
    with running(3, rolls_by_itself=True) as service:
        async with probe_for(service) as probe:
            await restart_service.execute(Params(service="payment"), probe)
        assert service.events == ["restart pay-1,pay-2,pay-3"]


async def test_more_than_the_limit_is_refused_not_cut_down() -> None:
    with running(3) as service:
        async with probe_for(service) as probe:
            for call in (restart_service.dry_run, restart_service.execute):
                with pytest.raises(Permanent, match="3 replicas to restart is over the limit of 2") as caught:
                    await call(Params(service="payment", max_replicas=2), probe)
                assert caught.value.error_class == "refused"
        assert service.events == []


async def test_another_environment_than_the_catalogues_is_refused() -> None:
    with running(1) as service:
        async with probe_for(service, environment="staging") as probe:
            with pytest.raises(Permanent, match="staging"):
                await restart_service.execute(Params(service="payment", environment="production"), probe)
        assert service.events == []


async def test_the_facts_tell_the_whole_and_each_replica() -> None:
    with running(2) as service:
        service.stop(["pay-2"])
        async with probe_for(service) as probe:
            reading = await restart_service.observe(Params(service="payment"), probe)
    assert dict(reading.facts) == {
        "ready_count": 1,
        "total_count": 2,
        "all_ready": False,
        "rolling": False,
        "version": "v2",
    }
    assert [(target.target, target.facts["ready"]) for target in reading.targets] == [
        ("payment/pay-1", True),
        ("payment/pay-2", False),
    ]


def test_the_registry_knows_what_it_declares() -> None:
    kind = Registry().action("restart_pods")
    assert (kind.name, kind.idempotent, kind.postcondition) == (
        "restart_service",
        False,
        "ready_count == total_count && !rolling",
    )

"""What is claimed, by whom, and given back only under the claim that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.works import did, engine, status_of

pytestmark = pytest.mark.anyio


async def test_only_the_claim_that_was_meant_is_given_back(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", poll_s=60.0) as here:
        await here.start("asks", "w", 600.0)
        await did(tmp_path, "asked")
        claimed = here.durable._claimed
        assert claimed.here() == here.durable._claims.running()
        assert claimed.by_executor("asks") == await here.durable.running("asks") == {"one": ["w"]}
        assert claimed.by_executor("naps") == {}
        assert not claimed.give_back("w", "a later claim")
        assert (status_of(here.database, "w"), set(claimed.here())) == ("PENDING", {"w"})
        assert claimed.give_back("w", claimed.here()["w"])
        assert (status_of(here.database, "w"), claimed.here()) == ("ENQUEUED", {})

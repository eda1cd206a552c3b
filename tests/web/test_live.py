"""What changes reaches whoever looks: each change once, in order, from where they left off; the slow are let go."""

import asyncio
import json

import pytest

from quell.web.live import QUEUE, Channel, _Viewer
from tests.servers.process import wait_until
from tests.web.house import House


def test_an_incident_arrives_region_by_region(house: House) -> None:
    name = house.alert("Nobody1")
    seq = house.until(name, "escalated")["seq"]
    with house.stream(f"/incidents/{name}/live?after=0") as stream:
        whole = stream.next()
        assert set(json.loads(whole["data"])) >= {"state", "asks", "timeline"}
        assert int(whole["id"]) >= seq
        house.http.post(f"/api/v1/incidents/{name}/take", json={"by": "Ines"})
        change = stream.next()
        assert int(change["id"]) > int(whole["id"])
        regions = json.loads(change["data"])
        assert "Ines has taken over" in regions["state"]
        assert "plan" not in regions


def test_who_has_seen_everything_is_sent_nothing_old(house: House) -> None:
    name = house.alert("Nobody2")
    house.until(name, "escalated")
    wait_until(lambda: "Told log" in house.http.get(f"/incidents/{name}").text, "the page")
    seq = house.incident(name)["seq"]
    with house.stream(f"/incidents/{name}/live?after={seq}") as stream:
        # But for what changes without a number: what is paused.
        assert json.loads(stream.next()["data"]) == {"paused": ""}
        house.http.post(f"/api/v1/incidents/{name}/take", json={"by": "Ines"})
        assert int(stream.next()["id"]) > seq


def test_the_browsers_memory_counts(house: House) -> None:
    name = house.alert("Nobody3")
    house.until(name, "escalated")
    last = {"last-event-id": "2"}
    with house.http.stream("GET", f"/api/v1/incidents/{name}/events?after=0", headers=last) as answer:
        first = next(line for line in answer.iter_lines() if line.startswith("id: "))
    assert first == "id: 3"


def test_the_log_as_a_stream_of_events(house: House) -> None:
    name = house.alert("Nobody4")
    with house.stream(f"/api/v1/incidents/{name}/events") as stream:
        assert (stream.next()["event"], house.until(name, "escalated")["id"]) == ("incident.opened", name)
        house.http.post(f"/api/v1/incidents/{name}/resolve", json={"by": "Ines"})
        while (message := stream.next())["event"] != "incident.resolved":
            pass
        assert json.loads(message["data"])["payload"]["by"] == "Ines"


def test_the_list_hears_of_every_incident(house: House) -> None:
    with house.stream("/live?after=0") as stream:
        stream.next()
        name = house.alert("Nobody5")
        while name not in json.loads(stream.next()["data"]).get("list", ""):
            pass


def test_many_viewers_get_the_same_bytes(house: House) -> None:
    name = house.alert("Nobody6")
    house.until(name, "escalated")
    seen = []
    with house.stream(f"/incidents/{name}/live") as one, house.stream(f"/incidents/{name}/live") as two:
        one.next(), two.next()
        house.http.post(f"/api/v1/incidents/{name}/take", json={"by": "Ines"})
        seen = [one.next(), two.next()]
    assert seen[0] == seen[1]


def test_streams_of_nobody_are_404(house: House) -> None:
    assert house.http.get("/incidents/none/live").status_code == 404
    assert house.http.get("/api/v1/incidents/none/events").status_code == 404


@pytest.mark.anyio
async def test_a_channel_renders_once_for_all_and_lets_the_slow_go() -> None:
    count = 0

    async def render(name: str) -> tuple[int, dict[str, str]]:
        nonlocal count
        count += 1
        return count, {"state": f"number {count}", "same": "always"}

    channel = Channel("i", render)
    quick, slow = _Viewer(), _Viewer()
    channel.viewers |= {quick, slow}
    channel.start()
    first = await channel.snapshot(0)
    assert first is not None
    assert json.loads(first.decode().partition("data: ")[2])["same"] == "always"
    for number in range(QUEUE + 1):
        channel.touch()
        frame = await asyncio.wait_for(quick.queue.get(), 5)
        assert frame is not None
        assert json.loads(frame.decode().partition("data: ")[2]) == {"state": f"number {number + 2}"}
    assert count == QUEUE + 2
    assert channel.viewers == {quick}
    assert slow.queue.get_nowait() is None
    assert await channel.snapshot(channel.seq) is None
    channel.stop()

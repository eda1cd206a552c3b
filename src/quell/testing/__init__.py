"""The contracts that every plug-in keeps, to be run on one of your own.

    import pytest
    from quell.ports import Connection
    from quell.testing import Scene, Stage, promises
    from acme_quell import nats_lag

    def play(scene: Scene) -> Stage:
        where = Connection("nats", "nats", f"nats://{scene.address}", password=scene.canary)
        return Stage({"connection": "nats", "stream": "jobs"}, [where])

    @pytest.mark.parametrize("promise", promises("checks", nats_lag, play=play), ids=str)
    def test_it_keeps_its_promises(promise):
        promise.keep()

Without ``play`` only what the module says of itself is checked; with it, the plug-in is also called against a port
where nobody listens, a server that never answers, and one that repeats all it was sent, secrets included.
Never does: need pytest, talk to anything but 127.0.0.1, replace a part of the product.
"""

from quell.testing.promise import Broken, Promise
from quell.testing.promises import KINDS, promises, unique_names
from quell.testing.stage import Play, Scene, Stage

__all__ = ["KINDS", "Broken", "Play", "Promise", "Scene", "Stage", "promises", "unique_names"]

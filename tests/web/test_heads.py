"""A request's headers are told as Starlette tells them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from quell.web.heads import heads_of

NAMES = st.sampled_from(["host", "x-signature", "authorization", "content-length"])
VALUES = st.text(st.characters(max_codepoint=255), max_size=8)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from(["Host", "X-Signature", "other"]))
def test_they_say_what_starlettes_own_say(pairs: list[tuple[str, str]], name: str) -> None:
    scope = {"type": "http", "headers": [(key.encode(), value.encode("latin-1")) for key, value in pairs]}
    theirs, ours = Headers(scope=scope), heads_of(scope)
    assert ours.get(name, "none") == theirs.get(name, "none")
    assert (name in ours) == (name in theirs)
    assert sorted(ours) == sorted(set(theirs))
    if name in ours:
        assert ours[name] == theirs[name]
    assert heads_of(scope) is ours, "they are read once"

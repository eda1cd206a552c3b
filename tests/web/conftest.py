"""One house for all tests of a file: starting one takes a second."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.house import House


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    # A short path, as in real calls: what fits on a phone must not hang on how deep the tests' folder lies.
    with tempfile.TemporaryDirectory(prefix="q") as folder, House(Path(folder)) as house:
        yield house

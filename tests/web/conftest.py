"""One house for all tests of a file: starting one takes a second."""

from collections.abc import Iterator

import pytest

from tests.web.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")) as house:
        yield house

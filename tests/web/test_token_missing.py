"""A token whose reference leads nowhere."""

import os
from pathlib import Path

import pytest

from tests.web.house import House


def test_a_missing_secret_is_told_at_the_start(tmp_path: Path) -> None:
    os.environ.pop("QUELL_TEST_GONE", None)
    with (
        pytest.raises(Exception, match="QUELL_TEST_GONE"),
        House(tmp_path, more="server: {token: 'env:QUELL_TEST_GONE'}"),
    ):
        pass

"""In these tests a database is all there is."""

from __future__ import annotations

import pytest

from quell.store.database import Database


@pytest.fixture
def database(store: Database) -> Database:
    return store

"""A database of each kind, empty."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLite in the test's folder, or a fresh database of a real PostgreSQL."""
    return str(tmp_path / "q.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))

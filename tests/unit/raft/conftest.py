"""`PYKVD_REWRITE=1 pytest tests/unit/raft` writes what scenarios print as what they expect."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def rewrite() -> bool:
    """Whether to write scenario files anew; the diff is then reviewed like code."""
    return os.environ.get("PYKVD_REWRITE") == "1"

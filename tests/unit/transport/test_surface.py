"""The names of the package are loaded when they are used."""

from __future__ import annotations

import pytest

from pykvd import transport


def test_all_that_is_promised_is_there() -> None:
    for name in transport.__all__:
        assert callable(getattr(transport, name))
    with pytest.raises(AttributeError):
        _ = transport.nothing

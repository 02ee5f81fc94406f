"""What is awaited or entered starts once."""

from __future__ import annotations

from typing import Self

import pytest

from pykvd.client.aio.starting import Starting


class Thing:
    """Can be entered."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


async def test_a_second_use_is_an_error() -> None:
    made: list[Thing] = []

    async def start() -> Thing:
        made.append(Thing())
        return made[-1]

    starting = Starting(start)
    assert await starting is made[0]
    with pytest.raises(RuntimeError, match="only once"):
        await starting
    with pytest.raises(RuntimeError, match="only once"):
        async with starting:
            pass
    async with Starting(start) as thing:
        assert thing is made[1]
    assert len(made) == 2

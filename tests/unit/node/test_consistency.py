"""Who is odd: a majority of all members decides, not of those that answered."""

import pytest

from pykvd.node.checksums import ABSENT, UNREADABLE
from pykvd.node.consistency import NOBODY_KNOWS, odd_ones


@pytest.mark.parametrize(
    ("readings", "members", "odd"),
    [
        ({1: 7, 2: 7, 3: 7}, 3, []),
        ({1: 7}, 3, []),
        ({1: None, 2: None, 3: 7}, 3, []),
        ({1: 7, 2: 7, 3: 8}, 3, [3]),
        ({1: 8, 2: 7, 3: 7}, 3, [1]),
        ({1: 7, 2: 7, 3: ABSENT}, 3, [3]),
        ({1: 7, 2: 8, 3: None}, 3, [NOBODY_KNOWS]),
        ({1: 7, 2: 8}, 2, [NOBODY_KNOWS]),
        ({1: 7, 2: 8, 3: 9}, 3, [NOBODY_KNOWS]),
        ({1: 7, 2: 7, 3: 8}, 5, [NOBODY_KNOWS]),
        ({1: 7, 2: 7, 3: 7, 4: 8, 5: 9}, 5, [4, 5]),
        ({1: 7, 2: UNREADABLE, 3: None}, 3, [2]),
        ({1: UNREADABLE, 2: UNREADABLE, 3: 7}, 3, [1, 2]),
        ({1: UNREADABLE}, 3, [1]),
    ],
)
def test_odd_ones(readings: dict[int, int | None], members: int, odd: list[int]) -> None:
    assert odd_ones(readings, members) == odd

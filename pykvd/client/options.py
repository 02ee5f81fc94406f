"""The options of ranges, as keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pykvd.client.requests import SortBy


class RangeOptions(TypedDict, total=False):
    """Which keys of a range, in which order, and how much of them."""

    prefix: bool
    """All keys that begin with `key`."""
    limit: int
    """At most so many keys; 0 for all."""
    revision: int
    """As they were at this revision; 0 for now."""
    sort_by: SortBy | None
    """Order by this; without it the order is that of the keys."""
    descending: bool
    """The largest first."""
    serializable: bool
    """Answer from what the member knows: faster, maybe stale, needs no leader."""
    keys_only: bool
    """Leave the values out."""
    count_only: bool
    """Leave the keys out too."""
    min_mod_revision: int
    """Only keys that were changed last at or after this revision."""
    max_mod_revision: int
    """Only keys that were changed last at or before this revision."""
    min_create_revision: int
    """Only keys that were created at or after this revision."""
    max_create_revision: int
    """Only keys that were created at or before this revision."""

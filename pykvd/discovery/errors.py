"""Why the other members were not found."""

from __future__ import annotations


class DiscoveryError(Exception):
    """The text is etcd's where it has one; `hint` says what can be done about it, or is empty."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint

"""Tokens: what a client shows instead of its password. Each member keeps its own."""

from collections.abc import Callable
from string import ascii_letters
from typing import Protocol

from pykvd.auth.identity import Identity
from pykvd.errors import Failure

PREFIX_LETTERS = 16
#: Seconds that a simple token lives when the configuration says 0 (etcd's rule).
DEFAULT_TTL = 300
#: Tokens below which those that have expired are not looked for.
SWEEP_FROM = 1024
_INDEX_DIGITS = len(str((1 << 64) - 1))


class Tokens(Protocol):
    """How users are recognised."""

    def find(self, token: str, revision: int) -> Identity | None:
        """Who shows the token, None for a bad one; `revision` is the auth store's."""

    def awaits(self, token: str) -> int:
        """The log's index that must be applied before the token can be judged, or 0."""

    def assign(self, user: str, prefix: str, index: int) -> str:
        """Take note of a login that the log has at `index`; returns the token, if made here."""

    def issue(self, user: str, revision: int) -> str:
        """A token for a login, where `assign` makes none. Slow: not for the loop. May raise."""

    def forget_user(self, user: str) -> None:
        """The user is gone or has another password."""

    def forget_all(self) -> None:
        """Auth was turned off."""


class NoTokens:
    """Nobody gets a token, none is accepted (`--auth-token=''`)."""

    def find(self, token: str, revision: int) -> Identity | None:  # noqa: ARG002
        """No token is good."""
        return None

    def awaits(self, token: str) -> int:  # noqa: ARG002
        """Nothing to wait for."""
        return 0

    def assign(self, user: str, prefix: str, index: int) -> str:  # noqa: ARG002
        """No token is made."""
        return ""

    def issue(self, user: str, revision: int) -> str:  # noqa: ARG002
        """Refuse the login."""
        raise Failure.AUTH_FAILED.error()

    def forget_user(self, user: str) -> None:
        """Nothing is known."""

    def forget_all(self) -> None:
        """Nothing is known."""


class _Entry:
    __slots__ = ("expiry", "identity")

    def __init__(self, identity: Identity, expiry: float) -> None:
        self.identity = identity
        self.expiry = expiry


class SimpleTokens:
    """Random tokens, in memory: 16 letters, a dot, and the log's index of the login.

    Every member takes note of every login when it applies it, so a token is good on all of them.
    A token lives for `ttl` seconds of `clock` after its last use on this member.

    They are found by hash, and Python's hashes of strings are keyed per process: how long a
    look-up takes says nothing about the tokens that exist.
    """

    def __init__(self, ttl: int, clock: Callable[[], float]) -> None:
        self._ttl = ttl if ttl > 0 else DEFAULT_TTL
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._sweep_at = SWEEP_FROM

    def find(self, token: str, revision: int) -> Identity | None:
        """Who shows the token; that renews it."""
        entry = self._entries.get(token)
        if entry is None:
            return None
        now = self._clock()
        if entry.expiry < now:
            del self._entries[token]
            return None
        entry.expiry = now + self._ttl
        if entry.identity.revision != revision:
            entry.identity = Identity(entry.identity.user, revision)
        return entry.identity

    def awaits(self, token: str) -> int:
        """The index in the token, 0 for one that is known or malformed."""
        return 0 if token in self._entries else index_of(token)

    def assign(self, user: str, prefix: str, index: int) -> str:
        """Make and keep the token."""
        token = f"{prefix}.{index}"
        now = self._clock()
        if len(self._entries) >= self._sweep_at:
            self._sweep(now)
        self._entries[token] = _Entry(Identity(user, 0), now + self._ttl)
        return token

    def _sweep(self, now: float) -> None:
        live = {token: entry for token, entry in self._entries.items() if entry.expiry >= now}
        self._entries = live
        self._sweep_at = max(SWEEP_FROM, 2 * len(live))

    def issue(self, user: str, revision: int) -> str:  # noqa: ARG002
        """Never asked for: `assign` makes the token."""
        return ""

    def forget_user(self, user: str) -> None:
        """Drop the user's tokens."""
        entries = self._entries.items()
        self._entries = {key: entry for key, entry in entries if entry.identity.user != user}

    def forget_all(self) -> None:
        """Drop all tokens."""
        self._entries.clear()


def index_of(token: str) -> int:
    """The log's index in a simple token; 0 where it is malformed."""
    _, dot, digits = token.partition(".")
    # Neither signs nor underscores nor digits of other scripts, all of which int() takes.
    if not dot or not digits.isascii() or not digits.isdecimal() or len(digits) > _INDEX_DIGITS:
        return 0
    return int(digits)


def make_prefix(choice: Callable[[str], str]) -> str:
    """The random part of a simple token; `choice` picks one of a string's letters, secretly."""
    return "".join(choice(ascii_letters) for _ in range(PREFIX_LETTERS))

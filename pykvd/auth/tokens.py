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
#: Tokens of one user: whoever logs in without end takes them from itself, not memory from us.
MAX_PER_USER = 1 << 14
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
    __slots__ = ("expiry", "identity", "used")

    def __init__(self, identity: Identity, expiry: float) -> None:
        self.identity = identity
        self.expiry = expiry
        self.used = False


class SimpleTokens:
    """Random tokens, in memory: 16 letters, a dot, and the log's index of the login.

    Every member takes note of every login when it applies it, so a token is good on all of them.
    A token lives for `ttl` seconds of `clock` after its last use on this member. Of a user that
    has MAX_PER_USER, one that was not used lately makes room for the next.

    They are found by hash, and Python's hashes of strings are keyed per process: how long a
    look-up takes says nothing about the tokens that exist.
    """

    def __init__(self, ttl: int, clock: Callable[[], float]) -> None:
        self._ttl = ttl if ttl > 0 else DEFAULT_TTL
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        # Every user's, those in front that are the next to go.
        self._of: dict[str, dict[str, None]] = {}
        self._sweep_at = SWEEP_FROM

    def find(self, token: str, revision: int) -> Identity | None:
        """Who shows the token; that renews it."""
        entry = self._entries.get(token)
        if entry is None:
            return None
        now = self._clock()
        if entry.expiry < now:
            self._drop(token)
            return None
        entry.expiry = now + self._ttl
        entry.used = True
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
        mine = self._of.setdefault(user, {})
        if len(mine) >= MAX_PER_USER:
            self._make_room(mine)
        self._entries[token] = _Entry(Identity(user, 0), now + self._ttl)
        mine[token] = None
        return token

    def _make_room(self, mine: dict[str, None]) -> None:
        """Drop the first of a user's tokens that was not used since it was last looked at."""
        while self._entries[token := next(iter(mine))].used:
            self._entries[token].used = False
            del mine[token]
            mine[token] = None
        self._drop(token)

    def _drop(self, token: str) -> None:
        user = self._entries.pop(token).identity.user
        del self._of[user][token]
        if not self._of[user]:
            del self._of[user]

    def _sweep(self, now: float) -> None:
        for token in [token for token, entry in self._entries.items() if entry.expiry < now]:
            self._drop(token)
        self._sweep_at = max(SWEEP_FROM, 2 * len(self._entries))

    def issue(self, user: str, revision: int) -> str:  # noqa: ARG002
        """Never asked for: `assign` makes the token."""
        return ""

    def forget_user(self, user: str) -> None:
        """Drop the user's tokens."""
        for token in self._of.pop(user, ()):
            del self._entries[token]

    def forget_all(self) -> None:
        """Drop all tokens."""
        self._entries.clear()
        self._of.clear()


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

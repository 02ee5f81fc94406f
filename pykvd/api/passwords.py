"""Password hashes, made and checked without holding up the loop or burning the processor.

bcrypt is slow on purpose (65 ms at cost 10). It runs in few threads with a bounded queue before
them, and a password that was right is remembered for a short while, so that clients which log in
again and again cost no hash each.
"""

import asyncio
import os
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple, TypeVar

from pykvd.errors import Code, Failure, RpcError
from pykvd.logs import get_logger

T = TypeVar("T")

MIN_COST, MAX_COST, DEFAULT_COST = 4, 31, 10
#: What bcrypt looks at; Go's library refuses longer passwords in these words.
MAX_PASSWORD_BYTES = 72
TOO_LONG = Code.UNKNOWN, "bcrypt: password length exceeds 72 bytes"
#: Requests that wait for a thread, or have one.
QUEUE_MAX = 256
#: Passwords that are remembered, and for how many seconds.
REMEMBERED, REMEMBERED_FOR = 1024, 60.0
#: A salt, and the hash of no password: checked for users that do not exist.
_NOBODY = "abcdefghijklmnopqrstuu" + "." * 31

_log = get_logger("auth")


class _Right(NamedTuple):
    """A password that was right: not itself, but enough to know it again."""

    salt: bytes
    digest: bytes
    revision: int
    until: float


class Passwords:
    """Hashes at `cost`; one that bcrypt does not have is replaced by the default, as in etcd.

    `clock` gives monotonic seconds. All methods are for the loop's thread.
    """

    def __init__(self, cost: int, *, clock: Callable[[], float]) -> None:
        if not MIN_COST <= cost <= MAX_COST:
            _log.warn(
                "use default bcrypt cost instead of the invalid given cost",
                min_cost=MIN_COST,
                max_cost=MAX_COST,
                default_cost=DEFAULT_COST,
                given_cost=cost,
            )
            cost = DEFAULT_COST
        self._cost = cost
        self._clock = clock
        # The loop needs a processor, too.
        threads = max(1, (os.cpu_count() or 1) // 2)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pykvd-bcrypt")
        self._free = asyncio.Semaphore(threads)
        self._admitted = 0
        self._stopped = False
        #: Pieces of slow work that were done.
        self.computed = 0
        self._key = secrets.token_bytes(32)
        self._right: dict[str, _Right] = {}

    async def hash(self, password: str) -> str:
        """A new hash of a password, in base64. Raises RpcError."""
        check_length(password)
        made = await self.run(lambda: _hashed(password, self._cost))
        return b64encode(made).decode()

    async def check(
        self,
        name: str,
        password: str,
        stored: bytes | None,
        revision: int,
        *,
        gone: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Whether a password is the one of a user's hash, which is None for an unknown user.

        That takes the same time for a wrong password and for an unknown user. `revision` is the
        auth store's; what is remembered of another one does not count. Nothing is computed for a
        caller that is `gone` when its turn comes. Raises RpcError when too many wait.
        """
        if self._remembers(name, password, revision):
            return True
        async with self._turn():
            # Others with the same password may have had their turn meanwhile.
            if gone() or self._remembers(name, password, revision):
                return not gone()
            right = await self._work(lambda: _matches(password, stored, self._cost))
        if right:
            self._remember(name, password, revision)
        return right

    async def run(self, work: Callable[[], T]) -> T:
        """Do slow work in these threads. Raises RpcError when too many wait."""
        async with self._turn():
            return await self._work(work)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._admitted >= QUEUE_MAX:
            raise Failure.TOO_MANY_REQUESTS.error()
        self._admitted += 1
        try:
            async with self._free:
                yield
        finally:
            self._admitted -= 1

    async def _work(self, work: Callable[[], T]) -> T:
        if self._stopped:
            raise Failure.STOPPED.error()
        self.computed += 1
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _digest(self, password: str, salt: bytes) -> bytes:
        return blake2b(password.encode(), key=self._key, salt=salt).digest()

    def _remembers(self, name: str, password: str, revision: int) -> bool:
        right = self._right.get(name)
        if right is None:
            return False
        if right.revision != revision or right.until < self._clock():
            del self._right[name]
            return False
        return compare_digest(self._digest(password, right.salt), right.digest)

    def _remember(self, name: str, password: str, revision: int) -> None:
        self._right.pop(name, None)
        if len(self._right) >= REMEMBERED:
            del self._right[next(iter(self._right))]
        salt = secrets.token_bytes(blake2b.SALT_SIZE)
        until = self._clock() + REMEMBERED_FOR
        self._right[name] = _Right(salt, self._digest(password, salt), revision, until)

    def stop(self) -> None:
        """Take no more work."""
        self._stopped = True
        self._pool.shutdown(wait=False)


def check_length(password: str) -> None:
    """Raise for a password that bcrypt would cut."""
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise RpcError(*TOO_LONG)


def nobody(cost: int) -> bytes:
    """The hash that passwords of users who do not exist are checked against."""
    return f"$2b${cost:02}${_NOBODY}".encode()


def _hashed(password: str, cost: int) -> bytes:
    """Slow."""
    import bcrypt  # noqa: PLC0415 - here and below: most servers have no users

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost))


def _matches(password: str, stored: bytes | None, cost: int) -> bool:
    """Slow. Without a usable hash the time is spent all the same."""
    import bcrypt  # noqa: PLC0415

    # What is longer than any password cannot be right; it must not be cut and compared.
    typed = password.encode()
    fits = len(typed) <= MAX_PASSWORD_BYTES
    try:
        found = bcrypt.checkpw(typed[:MAX_PASSWORD_BYTES], stored or b"")
    except ValueError:
        bcrypt.checkpw(typed[:MAX_PASSWORD_BYTES], nobody(cost))
        return False
    return found and fits

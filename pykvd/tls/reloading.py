"""Values made out of files, and made again when the files change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

from pykvd.logs import get_logger
from pykvd.tls.errors import TlsError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Stamp = tuple[tuple[int, ...] | None, ...]

_log = get_logger("tls")


class Reloaded(Generic[T]):
    """Looks at its files in every `get`: a `stat` each, so that no signal or watcher is needed."""

    def __init__(
        self, paths: tuple[str, ...], load: Callable[[], T], *, keep_last_good: bool
    ) -> None:
        """Load at once. Raises TlsError.

        keep_last_good: whether a former value serves while the new files cannot be used, as when
        a certificate has been replaced and its key not yet. What forbids must fail instead.
        """
        self._paths = paths
        self._load = load
        self._keep_last_good = keep_last_good
        self._complaint = ""
        self._stamp = _stamp(paths)
        self._value = load()

    def get(self) -> T:
        """The value of the files as they are now. Raises TlsError."""
        # Taken before the files are read: what changes meanwhile is read again next time.
        stamp = _stamp(self._paths)
        if stamp == self._stamp:
            return self._value
        try:
            self._value = self._load()
        except TlsError as error:
            self._complain(str(error))
            if self._keep_last_good:
                return self._value
            raise
        self._stamp = stamp
        self._complaint = ""
        _log.info("read changed TLS files", files=self._paths)
        return self._value

    def _complain(self, text: str) -> None:
        """Log each reason once, not for every connection."""
        if text != self._complaint:
            self._complaint = text
            _log.warn("changed TLS files cannot be used", files=self._paths, error=text)


def _stamp(paths: tuple[str, ...]) -> Stamp:
    return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def read_bytes(path: str) -> bytes:
    """The content of a file; TlsError with etcd's words when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except IsADirectoryError:
        raise TlsError(f"read {path}: is a directory") from None
    except (OSError, ValueError) as error:
        text = (getattr(error, "strerror", None) or str(error)).lower()
        raise TlsError(f"open {path}: {text}") from None

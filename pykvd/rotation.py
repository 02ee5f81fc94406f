"""A log file that rotates itself: `--enable-log-rotation`, with etcd's settings.

A full file is renamed to `<name>-<time><suffix>` and a new one begun. Old ones are packed and
deleted in a thread of their own, for no line may wait for that.
"""

from __future__ import annotations

import gzip
import json
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import LogRecord

#: Mebibytes of a file, unless the settings say otherwise.
DEFAULT_SIZE = 100
_MEBIBYTE = 1 << 20
_DAY_S = 86_400
_PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class RotationConfig:
    """When to rotate and what to keep; 0 is no limit."""

    max_size: int = DEFAULT_SIZE
    """Mebibytes of a file."""
    max_age: int = 0
    """Days that old files are kept."""
    max_backups: int = 0
    """Old files that are kept."""
    local_time: bool = False
    """Whether their names have local time rather than UTC."""
    compress: bool = False

    @classmethod
    def parse(cls, text: str) -> RotationConfig:
        """Read `--log-rotation-config-json`; names are compared without regard to case, as in Go.

        Raises ValueError.
        """
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it must be a JSON object")  # noqa: TRY004 - wrong text, not a type
        values = {name.lower(): value for name, value in found.items()}
        return cls(
            max_size=int(values.get("maxsize", 0)) or DEFAULT_SIZE,
            max_age=int(values.get("maxage", 0)),
            max_backups=int(values.get("maxbackups", 0)),
            local_time=bool(values.get("localtime", False)),
            compress=bool(values.get("compress", False)),
        )


class RotatingFile(WatchedFileHandler):
    """The handler of such a file."""

    def __init__(self, path: str, config: RotationConfig) -> None:
        """Raises OSError."""
        self._config = config
        self._path = Path(path)
        self._tidying: threading.Thread | None = None
        super().__init__(path, encoding="utf-8")

    def emit(self, record: LogRecord) -> None:
        """Write the line, into a new file when the old one is full."""
        try:
            if self.stream and self.stream.tell() >= self._config.max_size * _MEBIBYTE:
                self._rotate()
        except OSError:
            self.handleError(record)
        super().emit(record)

    def _rotate(self) -> None:
        now = time.time()
        while (backup := self._backup(now)).exists():
            now += 0.001
        self._path.rename(backup)
        self.reopenIfNeeded()
        self._tidy_up()

    def _backup(self, now: float) -> Path:
        moment = time.localtime(now) if self._config.local_time else time.gmtime(now)
        stamp = f"{time.strftime('%Y-%m-%dT%H-%M-%S', moment)}.{int(now * 1000) % 1000:03d}"
        return self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")

    def _tidy_up(self) -> None:
        if self._tidying is None or not self._tidying.is_alive():
            self._tidying = threading.Thread(target=self._tidy, name="pykvd-log", daemon=True)
            self._tidying.start()

    def close(self) -> None:
        """Close the file and wait for the work on old ones."""
        super().close()
        if self._tidying:
            self._tidying.join()

    def _tidy(self) -> None:
        """Delete old files beyond the limits and pack the others."""
        config = self._config
        kept = 0
        oldest = time.time() - config.max_age * _DAY_S if config.max_age else 0.0
        for path in sorted(self._backups(), reverse=True):
            # Somebody else may have taken it away meanwhile.
            with suppress(FileNotFoundError):
                kept += 1
                too_many = config.max_backups and kept > config.max_backups
                if too_many or path.stat().st_mtime < oldest:
                    path.unlink()
                elif config.compress and path.suffix != _PACKED:
                    _pack(path)

    def _backups(self) -> list[Path]:
        pattern = f"{self._path.stem}-*{self._path.suffix}"
        found = [*self._path.parent.glob(pattern), *self._path.parent.glob(pattern + _PACKED)]
        return list(dict.fromkeys(found))


def _pack(path: Path) -> None:
    packed = path.with_name(path.name + _PACKED)
    temporary = packed.with_suffix(".tmp")
    with path.open("rb") as source, gzip.open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)
    temporary.rename(packed)
    path.unlink()

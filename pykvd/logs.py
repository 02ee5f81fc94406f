"""Structured log lines, in the shape of etcd's, on top of the standard `logging` module.

Modules take a `Logger` by `get_logger` and give each message fields. Nothing is set up at import:
a program that embeds pykvd sees ordinary records of loggers named `pykvd...` whose message reads
`text key=value ...`, and gets handlers only by `open_log`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from pykvd.rotation import RotationConfig

ROOT = "pykvd"
# Without it Python prints a library's warnings on stderr where a program has not set up its log.
logging.getLogger(ROOT).addHandler(logging.NullHandler())

#: Names of levels, as zap has them; the three highest are one for us.
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
FORMATS = ("json", "console")
#: Outputs that are not files.
STREAMS = frozenset({"default", "stderr", "stdout", "systemd/journal"})

_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}


class Event:
    """A message with its fields; what a record of ours holds as `msg`."""

    __slots__ = ("fields", "text")

    def __init__(self, text: str, fields: Mapping[str, object]):
        self.text = text
        self.fields = fields

    def __str__(self) -> str:
        return " ".join((self.text, *(f"{key}={value}" for key, value in self.fields.items())))


class Logger:
    """Writes messages with fields; costs one comparison when its level is off.

    A field `cluster_id` is written as `cluster-id`. Values may be anything: what JSON does not
    know is written as its `str()`, bytes as text. Modules call theirs `_log`; linters take a name
    that begins with `log` for one of the standard library's.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger):
        self._logger = logger

    def enabled(self, level: int) -> bool:
        """Whether records of a level of `logging` are written; asked before costly fields."""
        return self._logger.isEnabledFor(level)

    def debug(self, text: str, /, **fields: object) -> None:
        """For developers."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug(Event(text, fields), stacklevel=2)

    def info(self, text: str, /, **fields: object) -> None:
        """What an operator wants to find in the log afterwards."""
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info(Event(text, fields), stacklevel=2)

    def warn(self, text: str, /, **fields: object) -> None:
        """What an operator may have to act upon."""
        if self._logger.isEnabledFor(logging.WARNING):
            self._logger.warning(Event(text, fields), stacklevel=2)

    def error(self, text: str, /, **fields: object) -> None:
        """A failure that the server survives; inside an except block, pass `error=error`."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._logger.error(Event(text, fields), stacklevel=2)

    def exception(self, text: str, /, **fields: object) -> None:
        """A failure that should not happen: an error with the traceback of the one in flight."""
        event = Event(text, fields)
        self._logger.error(event, stacklevel=2, exc_info=True)  # noqa: LOG014 - the caller's

    def fatal(self, text: str, /, **fields: object) -> None:
        """The last line before the process ends; ending it is the caller's part."""
        self._logger.critical(Event(text, fields), stacklevel=2)


def get_logger(name: str = "") -> Logger:
    """The logger called `name` below `pykvd`, such as `raft` or `api.kv`."""
    return Logger(logging.getLogger(f"{ROOT}.{name}" if name else ROOT))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: level, ts, logger, caller, msg, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        head = {"level": _level(record), "ts": _timestamp(record.created)}
        if name := _logger_name(record):
            head["logger"] = name
        head |= {"caller": _caller(record), "msg": _text(record)}
        # A field must not hide what the line says about itself.
        fields = {(f"field.{k}" if k in head else k): v for k, v in _fields(self, record).items()}
        return _to_json(head | fields)


class ConsoleFormatter(logging.Formatter):
    """For eyes: the same separated by tabs, with the fields as a JSON object at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`, followed by its traceback."""
        fields = dict(_fields(self, record))
        trace = fields.pop("stacktrace", None)
        parts = [_timestamp(record.created), _level(record), _logger_name(record), _caller(record)]
        parts += [_text(record), _to_json(fields) if fields else ""]
        line = "\t".join(filter(None, parts))
        return f"{line}\n{trace}" if trace else line


class Log:
    """The handlers that `open_log` added; close it to take them away again."""

    def __init__(self, handlers: Sequence[logging.Handler], level: int):
        root = logging.getLogger(ROOT)
        self._handlers = handlers
        self._before = (root.level, root.propagate)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
        root.propagate = False

    def reopen(self) -> None:
        """Open the files by their names again, after a rotation (SIGHUP).

        Even without this a line after a rename goes to the new file.
        """
        from logging.handlers import WatchedFileHandler  # noqa: PLC0415 - brings pickle along

        for handler in self._handlers:
            if isinstance(handler, WatchedFileHandler):
                handler.reopenIfNeeded()

    def close(self) -> None:
        """Flush and remove the handlers."""
        root = logging.getLogger(ROOT)
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        self._handlers = ()
        root.level, root.propagate = self._before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_log(
    level: str = "info",
    line_format: str = "json",
    outputs: Sequence[str] = ("default",),
    rotation: RotationConfig | None = None,
) -> Log:
    """Write pykvd's records to `outputs`: `default`, `stderr`, `stdout` or paths of files.

    With `rotation` the files rotate themselves. Raises KeyError for an unknown level, OSError for
    a file that cannot be opened.
    """
    formatter = JsonFormatter() if line_format == "json" else ConsoleFormatter()
    handlers: list[logging.Handler] = []
    try:
        for output in dict.fromkeys(outputs):
            handlers.append(_open_handler(output, rotation))  # noqa: PERF401 - see the except clause
    except OSError:
        for handler in handlers:
            handler.close()
        raise
    for handler in handlers:
        handler.setFormatter(formatter)
    return Log(handlers, LEVELS[level])


class _StreamHandler(logging.StreamHandler[TextIO]):
    """A standard stream; that its reader is gone is no error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - inherited
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)


def _open_handler(output: str, rotation: RotationConfig | None) -> logging.Handler:
    if output in STREAMS:
        # Under systemd stderr is the journal.
        return _StreamHandler(sys.stdout if output == "stdout" else sys.stderr)
    if rotation:
        from pykvd.rotation import RotatingFile  # noqa: PLC0415 - few ask for it

        return RotatingFile(output, rotation)
    from logging.handlers import WatchedFileHandler  # noqa: PLC0415

    return WatchedFileHandler(output, encoding="utf-8")


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno) or record.levelname.lower()


def _timestamp(created: float) -> str:
    """UTC with microseconds: `2026-01-31T23:59:59.000001Z`."""
    seconds, micros = divmod(round(created * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06d}Z"


def _logger_name(record: logging.LogRecord) -> str:
    return "" if record.name == ROOT else record.name.removeprefix(ROOT + ".")


def _caller(record: logging.LogRecord) -> str:
    """`package/file.py:line`."""
    return f"{'/'.join(record.pathname.split('/')[-2:])}:{record.lineno}"


def _text(record: logging.LogRecord) -> str:
    return record.msg.text if isinstance(record.msg, Event) else record.getMessage()


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {}
    if isinstance(record.msg, Event):
        fields = {key.replace("_", "-"): value for key, value in record.msg.fields.items()}
    if record.exc_info and record.exc_info[1]:
        fields.setdefault("error", record.exc_info[1])
        fields["stacktrace"] = formatter.formatException(record.exc_info)
    return fields


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="backslashreplace")
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)

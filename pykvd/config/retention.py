"""How much history auto compaction keeps."""

from __future__ import annotations

import re

from pykvd.config.values import parse_duration, quote

_COUNT = re.compile(r"\+?[0-9]+", re.ASCII)
_HOUR = 3600.0


def parse_retention(mode: str, text: str) -> float:
    """The history to keep: seconds in mode `periodic`, revisions in `revision`; 0 keeps all.

    A whole number means hours in mode `periodic`. Raises ValueError with etcd's text; a duration
    in mode `revision` is refused, where etcd takes its nanoseconds for a count.
    """
    if _COUNT.fullmatch(text):
        return int(text) * (_HOUR if mode == "periodic" else 1)
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"error parsing CompactionRetention: {error}") from None
    if mode == "revision" or seconds < 0:
        raise ValueError(f"error parsing CompactionRetention: {quote(text)} is no {mode} retention")
    return seconds

"""What to do next, told to people: on standard error, and only if that is a terminal."""

from collections.abc import Iterable

from pykvctl.streams import Streams

_ALARMS = {
    "NOSPACE": "the store is at its quota and refuses writes; drop history with "
    "`pykvctl compaction REVISION`, give the space back with `pykvctl defrag --cluster`, then "
    "`pykvctl alarm disarm`",
    "CORRUPT": "members hold different data and refuse to work; find out which with `pykvctl "
    "endpoint hashkv --cluster`, replace it, then `pykvctl alarm disarm`",
}

#: Flags of etcd's v2 client, and what stands for them.
_FLAGS = {
    "-C": "--endpoints",
    "--peers": "--endpoints",
    "--endpoint": "--endpoints",
    "-o": "--write-out",
    "--output": "--write-out",
    "-u": "--user",
    "--username": "--user",
    "--cert-file": "--cert",
    "--key-file": "--key",
    "--ca-file": "--cacert",
    "--timeout": "--dial-timeout",
    "--total-timeout": "--command-timeout",
    "--no-sync": "nothing: the member list is never fetched",
    "--recursive": "--prefix",
    "-r": "--prefix",
    "--quorum": "nothing: reads always have one, unless --consistency=s",
    "--version": "the command `pykvctl version`",
    "-v": "the command `pykvctl version`",
}


def _hint(streams: Streams, text: str) -> None:
    if streams.stderr.isatty():
        streams.error_line(f"hint: {text}")


def hint_alarms(streams: Streams, texts: Iterable[str]) -> None:
    """Tell the way out of each alarm that is named in one of the texts."""
    told = " ".join(texts)
    for name, text in _ALARMS.items():
        if name in told:
            _hint(streams, f"{name}: {text}")


def hint_flags(streams: Streams, words: Iterable[str]) -> None:
    """Tell what stands for the flags of v2 among the words."""
    for word in words:
        instead = _FLAGS.get(word.partition("=")[0])
        if instead:
            _hint(streams, f"{word.partition('=')[0]} is of etcd v2; now it is {instead}")
            return

"""Commands of etcd's v2 client that have no sound meaning on v3: each names what to type."""

from pykvctl.errors import CommandError
from pykvctl.options.command import Command, Line
from pykvctl.options.parser import ParsedLine

_FLAT = "v3 has no directories: a key a/b/c needs no a or a/b"

#: What to type in the place of each command.
INSTEAD = {
    "mkdir": f"{_FLAT}; write it at once with `pykvctl put a/b/c VALUE`",
    "setdir": f"{_FLAT}; write it at once with `pykvctl put a/b/c VALUE`",
    "updatedir": f"{_FLAT}; keys that share a lease expire together: `pykvctl lease grant TTL`, "
    "then `pykvctl put --lease=ID a/b/c VALUE`",
    "rmdir": f"{_FLAT}; delete all keys below a/ with `pykvctl del a/ --prefix`",
    "exec-watch": "type `pykvctl watch KEY -- COMMAND ARGS`, or `pykvctl watch --prefix KEY/ -- "
    "COMMAND ARGS` for all keys below",
    "backup": "type `pykvctl snapshot save FILE` while the member runs, then `pykvctl snapshot "
    "restore FILE`",
    "import": "v2 data cannot be imported; write pairs with `pykvctl put KEY VALUE`",
}


class Retired(Command):
    """A command that only tells what to type instead, whatever is typed behind it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            usage=name,
            short_help="v2: tells what to type instead",
            callback=lambda **_: self._tell(),
        )

    def read(self, words: list[str]) -> Line:
        """Take any flags of v2 for arguments; only a request for help is heard."""
        asked = {"-h", "--help"}.intersection(words)
        return Line(ParsedLine(values={"help": bool(asked)}, args=list(words)))

    def _tell(self) -> None:
        raise CommandError(f"{self.name} is a command of etcd v2: {INSTEAD[str(self.name)]}")


mkdir = Retired("mkdir")
setdir = Retired("setdir")
updatedir = Retired("updatedir")
rmdir = Retired("rmdir")
exec_watch = Retired("exec-watch")
backup = Retired("backup")
import_ = Retired("import")

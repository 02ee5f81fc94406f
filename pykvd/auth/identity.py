"""Who asks."""

from struct import Struct
from typing import NamedTuple

_HEAD = Struct("<QI")


class Identity(NamedTuple):
    """A user's name and the auth revision at which it was established; revision 0 is nobody's."""

    user: str
    revision: int

    def encode(self) -> bytes:
        """As it stands in the log: revision u64, length of the name u32, name in UTF-8."""
        name = self.user.encode()
        return _HEAD.pack(self.revision, len(name)) + name

    @classmethod
    def decode(cls, data: bytes, offset: int) -> tuple["Identity", int]:
        """Read back what `encode` wrote; returns where it ends."""
        revision, length = _HEAD.unpack_from(data, offset)
        start = offset + _HEAD.size
        end = start + length
        return cls(data[start:end].decode(), revision), end


#: What a member asks for by itself: never refused, whatever changed meanwhile.
ITSELF = Identity("root", (1 << 64) - 1)

"""Response headers, encoded once and shared."""

from pykvd.mvcc.record import varint


class HeaderEncoder:
    """Makes `ResponseHeader` as field 1 of a response; remembers the last one."""

    def __init__(self, cluster_id: int, member_id: int) -> None:
        self._identity = b"\x08" + varint(cluster_id) + b"\x10" + varint(member_id)
        self._term = b""
        self._revision = -1
        self._last = b""
        # All before the revision, which has so many bytes.
        self._head = b""
        self._width = -1
        self.term = 0

    def set_term(self, term: int) -> None:
        """Use a new raft term from now on."""
        self.term = term
        self._term = b" " + varint(term) if term else b""
        self._revision = self._width = -1

    def __call__(self, revision: int) -> bytes:
        """The framed header with this store revision (0 leaves it out)."""
        if revision != self._revision:
            self._revision = revision
            text = varint(revision) if revision else b""
            if len(text) != self._width:
                self._fit(len(text))
            self._last = self._head + text + self._term
        return self._last

    def _fit(self, width: int) -> None:
        self._width = width
        before = self._identity + (b"\x18" if width else b"")
        self._head = b"\n" + varint(len(before) + width + len(self._term)) + before


def revision_header(revision: int) -> bytes:
    """The header of an operation inside a transaction: the revision alone."""
    body = b"\x18" + varint(revision)
    return b"\n" + varint(len(body)) + body

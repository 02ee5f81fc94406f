"""Long ranges, read a page at a time so that no answer is ever large."""

from collections.abc import Iterator

from pykvctl.client import Client
from pykvd.methods import RANGE
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

#: Pairs in one answer; with values of the usual limit of 1.5 MiB that stays below gRPC's 2 GiB.
PAGE = 1000


class Pages:
    """The pairs of a range in key order, all as of one revision; `revision` is that of the read.

    Iterating raises RequestError, also when the revision is compacted meanwhile.
    """

    def __init__(
        self,
        client: Client,
        bounds: tuple[bytes, bytes],
        timeout_s: float | None,
        *,
        revision: int = 0,
        keys_only: bool = False,
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._request = rpc.RangeRequest(
            key=bounds[0],
            range_end=bounds[1],
            revision=revision,
            keys_only=keys_only,
            limit=PAGE,
        )
        self._page = self._read()
        self.newest: int = self._page.header.revision
        self.revision = revision or self.newest
        self._request.revision = self.revision

    def _read(self) -> rpc.RangeResponse:
        return self._client.unary(RANGE, self._request, self._timeout_s)

    def __iter__(self) -> Iterator[kvpb.KeyValue]:
        while True:
            yield from self._page.kvs
            if not (self._page.more and self._page.kvs):
                return
            self._request.key = self._page.kvs[-1].key + b"\0"
            self._page = self._read()

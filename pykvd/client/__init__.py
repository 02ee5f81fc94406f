"""A client of the etcd v3 API: `Client` for plain code, `AsyncClient` for asyncio.

```python
from pykvd.client import Client, get, put, version

with Client("127.0.0.1:2379") as client:
    client.put("greeting", "hello")
    print(client.get("greeting").value)
    client.txn().when(version("k") == 0).then(put("k", "v")).otherwise(get("k")).commit()
```

It works with pykvd and with etcd. Both clients have the same methods; those of `AsyncClient` are
awaited. Failures are the exceptions of `pykvd.client.errors`. `docs/client.md` is the guide.

Inside, `engine` and the modules round it decide what to send, without any I/O; `sync` and `aio` do
it. `transport` is the seam to what carries the calls, and `wire` carries them over sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.client.errors import (
    AuthFailed,
    ClientClosed,
    Compacted,
    DeadlineExceeded,
    ElectionNoLeader,
    ElectionNotLeader,
    EtcdError,
    FutureRevision,
    KeyExists,
    LeaseLost,
    LeaseNotFound,
    PermissionDenied,
    SessionExpired,
    TooManyClients,
    Unavailable,
)
from pykvd.client.recipes.stm import Isolation
from pykvd.client.sync.client import Client
from pykvd.client.sync.stm import STM
from pykvd.client.txn import (
    create_revision,
    delete,
    get,
    lease_of,
    mod_revision,
    nested,
    put,
    value,
    version,
)
from pykvd.client.values import Event, KeyValue
from pykvd.client.wire.limits import Times

if TYPE_CHECKING:
    from pykvd.client.aio.client import AsyncClient
    from pykvd.client.aio.stm import STM as AsyncSTM  # noqa: N811
    from pykvd.client.wire.tls import TLS

__all__ = [
    "STM",
    "TLS",
    "AsyncClient",
    "AsyncSTM",
    "AuthFailed",
    "Client",
    "ClientClosed",
    "Compacted",
    "DeadlineExceeded",
    "ElectionNoLeader",
    "ElectionNotLeader",
    "EtcdError",
    "Event",
    "FutureRevision",
    "Isolation",
    "KeyExists",
    "KeyValue",
    "LeaseLost",
    "LeaseNotFound",
    "PermissionDenied",
    "SessionExpired",
    "Times",
    "TooManyClients",
    "Unavailable",
    "create_revision",
    "delete",
    "get",
    "lease_of",
    "mod_revision",
    "nested",
    "put",
    "value",
    "version",
]


def __getattr__(name: str) -> object:
    """What is loaded when it is used: plain code does without asyncio, and most without TLS."""
    if name == "TLS":
        from pykvd.client.wire.tls import TLS  # noqa: PLC0415

        return TLS
    if name == "AsyncClient":
        from pykvd.client.aio.client import AsyncClient  # noqa: PLC0415

        return AsyncClient
    if name == "AsyncSTM":
        from pykvd.client.aio.stm import STM as AsyncSTM  # noqa: N811, PLC0415

        return AsyncSTM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Renewing a lease over a stream that is opened anew when it breaks."""

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import grpc

from pykvctl.client import Client
from pykvd.methods import LEASE_KEEP_ALIVE
from pykvd.pb import rpc_pb2 as rpc

PAUSE_S = 0.1
_TRANSIENT = frozenset({"Unavailable", "Internal", "Unknown", "Canceled"})


def renew(client: Client, lease_id: int) -> rpc.LeaseKeepAliveResponse:
    """Renew once; waits for a server without a deadline, other failures are raised."""
    while True:
        try:
            for answer in client.stream(LEASE_KEEP_ALIVE, [_request(lease_id)]):
                return answer
        except grpc.RpcError as error:
            failure = client.translate(error)
            if failure.code not in _TRANSIENT and not client.renew_token(failure, None):
                raise failure from None
        client.turn()
        time.sleep(PAUSE_S)


def renewals(
    client: Client, lease_id: int, stopped: threading.Event | None = None
) -> Iterator[rpc.LeaseKeepAliveResponse]:
    """Renew at once and at each third of the granted time; ends when the lease is gone.

    When `stopped` is set no further renewal is made.
    """
    stopped = stopped or threading.Event()
    while not stopped.is_set():
        requests: SimpleQueue[rpc.LeaseKeepAliveRequest | None] = SimpleQueue()
        requests.put(_request(lease_id))
        try:
            for answer in client.stream(LEASE_KEEP_ALIVE, iter(requests.get, None)):
                if answer.TTL <= 0:
                    return
                yield answer
                if stopped.wait(answer.TTL / 3):
                    return
                requests.put(_request(lease_id))
        except grpc.RpcError as error:
            failure = client.translate(error)
            if failure.code not in _TRANSIENT and not client.renew_token(failure, None):
                raise failure from None
        finally:
            requests.put(None)
        client.turn()
        stopped.wait(PAUSE_S)


def _request(lease_id: int) -> rpc.LeaseKeepAliveRequest:
    return rpc.LeaseKeepAliveRequest(ID=lease_id)

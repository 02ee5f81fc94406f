"""Renewing a lease over a stream that is opened anew when it breaks."""

import time
from collections.abc import Iterator
from queue import SimpleQueue

import grpc

from pykvctl.client import Client
from pykvctl.methods import LEASE_KEEP_ALIVE
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
            if failure.code not in _TRANSIENT:
                raise failure from None
        client.turn()
        time.sleep(PAUSE_S)


def renewals(client: Client, lease_id: int) -> Iterator[rpc.LeaseKeepAliveResponse]:
    """Renew at once and at each third of the granted time; ends when the lease is gone."""
    while True:
        requests: SimpleQueue[rpc.LeaseKeepAliveRequest | None] = SimpleQueue()
        requests.put(_request(lease_id))
        try:
            for answer in client.stream(LEASE_KEEP_ALIVE, iter(requests.get, None)):
                if answer.TTL <= 0:
                    return
                yield answer
                time.sleep(answer.TTL / 3)
                requests.put(_request(lease_id))
        except grpc.RpcError as error:
            failure = client.translate(error)
            if failure.code not in _TRANSIENT:
                raise failure from None
        finally:
            requests.put(None)
        client.turn()
        time.sleep(PAUSE_S)


def _request(lease_id: int) -> rpc.LeaseKeepAliveRequest:
    return rpc.LeaseKeepAliveRequest(ID=lease_id)

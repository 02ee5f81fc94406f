"""LeaseLeases with auth on: the caller must be allowed to read every key on every lease."""

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Client, Failure, methods
from tests.harness.rpc import Metadata
from tests.integration.auth.accounts import READ, add_user, grant, grant_role, log_in
from tests.integration.auth.conftest import Guarded

DENIED = Failure("PERMISSION_DENIED", "etcdserver: permission denied")
#: More than one step looks at, of leases and of keys.
LEASES = 700
KEYS = 1200


def put(client: Client, root: Metadata, keys: list[bytes], lease: int) -> None:
    for start in range(0, len(keys), 100):
        puts = [rpc.PutRequest(key=key, lease=lease) for key in keys[start : start + 100]]
        ops = [rpc.RequestOp(request_put=each) for each in puts]
        client.call(methods.TXN, rpc.TxnRequest(success=ops), root)


def test_many_leases_with_many_keys(guarded: Guarded) -> None:
    """The keys lie in two ranges that may be read, with one between them that may not."""
    client, root = guarded.client, guarded.root
    add_user(client, "lister", "pw", root)
    client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="lists"), root)
    grant(client, "lists", READ, b"la", b"lb", root)
    grant(client, "lists", READ, b"lx", b"ly", root)
    grant_role(client, "lister", "lists", root)
    lister = log_in(client, "lister", "pw")
    for number in range(LEASES):
        lease = rpc.LeaseGrantRequest(ID=number + 1, TTL=1000 + (number * 7) % LEASES)
        client.call(methods.GRANT, lease, root)
    put(client, root, [b"la%04d" % number for number in range(KEYS)], 5)
    put(client, root, [b"lx%04d" % number for number in range(KEYS)], 5)
    put(client, root, [b"la-alone"], 6)
    for who in (lister, root):
        told = [each.ID for each in client.call(methods.LEASES, None, who).leases]
        assert sorted(told) == list(range(1, LEASES + 1))
        ends = [(number - 1) * 7 % LEASES for number in told]
        assert ends == sorted(ends)
    for between, lease_id in ((b"lm", 5), (b"m", LEASES)):
        put(client, root, [between], lease_id)
        assert client.attempt(methods.LEASES, None, lister) == DENIED
        client.call(methods.DELETE, rpc.DeleteRangeRequest(key=between), root)
        assert len(client.call(methods.LEASES, None, lister).leases) == LEASES

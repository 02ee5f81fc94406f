"""The hash of a member's records, for whoever asks by gRPC or on the peer port."""

from pykvd.errors import Failure
from pykvd.node.node import Node
from pykvd.pb import rpc_pb2 as rpc


async def hash_kv(node: Node, revision: int) -> rpc.HashKVResponse:
    """Hash the key-value records up to a revision, 0 meaning the newest; without a header.

    At a compaction's revision that is the hash which it took. Raises RpcError for any other one
    that is compacted, or in the future.
    """
    taken = node.compaction_hashes.get(revision)
    if revision and taken:
        return rpc.HashKVResponse(
            hash=taken.hash,
            compact_revision=taken.compact_revision,
            hash_revision=taken.revision,
        )
    store = node.store
    revision = revision or store.revision
    if revision > store.revision:
        raise Failure.FUTURE_REVISION.error()
    await node.committer.flush()
    # Only now: a compaction after this is committed behind the reading.
    compacted = store.compact_revision
    if 0 < revision < compacted:
        raise Failure.COMPACTED.error()
    number = await store.backend.hash_revision(revision, compacted)
    return rpc.HashKVResponse(hash=number, compact_revision=compacted, hash_revision=revision)

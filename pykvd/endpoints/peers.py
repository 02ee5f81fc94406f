"""What a member tells over HTTP on its peer port."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pykvd.api.hashing import hash_kv
from pykvd.endpoints.about import get_only
from pykvd.errors import RpcError
from pykvd.http import Exchange, Handler, Response
from pykvd.http.message import JSON, TEXT, method_not_allowed, text_response
from pykvd.http.tasks import async_handler

if TYPE_CHECKING:
    from pykvd.cluster.membership import Member
    from pykvd.node.node import Node


def peer_routes(node: Node) -> dict[str, Handler]:
    """The peer port's own paths."""
    cluster = (("X-Etcd-Cluster-Id", f"{node.cluster_id:x}"),)

    def members(_exchange: Exchange) -> Response:
        values = [_describe(member) for member in node.membership.in_order()]
        body = json.dumps(values, separators=(",", ":")) + "\n"
        return Response(200, (("Content-Type", JSON), *cluster), body.encode())

    async def downgrade(exchange: Exchange) -> Response:
        if exchange.head.method != "GET":
            return method_not_allowed("GET")
        try:
            await node.read_barrier()
        except RpcError as error:
            return text_response(500, error.message + "\n")
        body = b"true" if node.applier.downgrade_target else b"false"
        return Response(200, (("Content-Type", TEXT), *cluster), body)

    async def hashkv(exchange: Exchange) -> Response:
        if exchange.head.method != "GET":
            return method_not_allowed("GET")
        if exchange.head.headers.get("x-etcd-cluster-id", cluster[0][1]) != cluster[0][1]:
            return text_response(412, "cluster ID mismatch\n")
        try:
            revision = int(json.loads(exchange.body)["revision"])
            response = await hash_kv(node, revision)
        except (ValueError, KeyError, TypeError):
            return text_response(400, "error unmarshalling request\n")
        except RpcError as error:
            return text_response(400, error.message.removeprefix("etcdserver: ") + "\n")
        value = {
            "header": {"revision": node.store.revision},
            "hash": response.hash,
            "compact_revision": response.compact_revision,
            "hash_revision": response.hash_revision,
        }
        body = json.dumps(value, separators=(",", ":")) + "\n"
        return Response(200, (("Content-Type", JSON), *cluster), body.encode())

    return {
        "/members": get_only(members),
        "/members/hashkv": async_handler(hashkv),
        "/downgrade/enabled": async_handler(downgrade),
    }


def _describe(member: Member) -> dict[str, object]:
    """A member as etcd shows it: ids are numbers here, and what is not known is left out."""
    fields: dict[str, object] = {"id": member.id, "peerURLs": member.peer_urls}
    if member.is_learner:
        fields["isLearner"] = True
    if member.name:
        fields["name"] = member.name
    if member.client_urls:
        fields["clientURLs"] = member.client_urls
    return fields

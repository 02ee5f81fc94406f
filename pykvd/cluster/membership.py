"""Members of the cluster and their ids. Pure."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import sha1


@dataclass(frozen=True, slots=True)
class Member:
    """One member. An empty name means that it has not started yet."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    def encode(self) -> bytes:
        """As kept in the store."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Member":
        """Read back what `encode` wrote."""
        fields = json.loads(data)
        return cls(
            id=fields["id"],
            name=fields["name"],
            peer_urls=tuple(fields["peer_urls"]),
            client_urls=tuple(fields["client_urls"]),
            is_learner=fields["is_learner"],
        )

    def published(self, name: str, client_urls: Iterable[str]) -> "Member":
        """The member after it has told its name and client URLs."""
        return replace(self, name=name, client_urls=tuple(client_urls))


def member_id(peer_urls: Iterable[str], token: str) -> int:
    """The id of a bootstrap member: SHA-1 over its sorted peer URLs and the cluster token."""
    text = "".join(sorted(peer_urls)) + token
    return int.from_bytes(sha1(text.encode(), usedforsecurity=False).digest()[:8], "big")


def cluster_id(member_ids: Iterable[int]) -> int:
    """The id of a new cluster: SHA-1 over its initial members' ids in ascending order."""
    data = b"".join(number.to_bytes(8, "big") for number in sorted(member_ids))
    return int.from_bytes(sha1(data, usedforsecurity=False).digest()[:8], "big")

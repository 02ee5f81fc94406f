"""The peer service: raft messages, snapshots and forwarded calls between the members.

`PeerNetwork` is all that a member needs: handlers for its peer listener and a way to each peer.
`handler` is what it asks of the member, `wire` the bytes on the wire, `limits` every bound.
`outbound` and `inbound` are the two ends of the message stream, `snapshot_sender` and
`snapshot_receiver` those of a snapshot; `http2` and `channel` are the client of our transport.
"""

from pykvd.peer.handler import PeerHandler
from pykvd.peer.joining import fetch_members
from pykvd.peer.limits import PeerLimits
from pykvd.peer.network import NetworkStatistics, PeerNetwork
from pykvd.peer.outbound import PeerStatistics

__all__ = [
    "NetworkStatistics",
    "PeerHandler",
    "PeerLimits",
    "PeerNetwork",
    "PeerStatistics",
    "fetch_members",
]

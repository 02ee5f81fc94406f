"""The links between members: `pykvd.node.network.Network` over the simulated network."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pykvd.errors import Failure, RpcError
from pykvd.raft import MessageKind, decode_message, encode_message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pykvd.raft import Message
    from tests.simulation.member import Process

SNAPSHOT_SECONDS = 0.2
"""What the transfer of a snapshot takes besides the delay of a message."""
SNAPSHOT_TIMEOUT_SECONDS = 3.0
"""After which a transfer without an answer has failed."""
GREETING_SECONDS = 1.0
"""Who has heard nothing for so long connects anew, and is told if it was removed meanwhile."""


class SimulatedPeers:
    """The other members as one process reaches them."""

    def __init__(self, process: Process) -> None:
        self.removed: set[int] = set()
        self._process = process
        self._world = process.world
        self._peers: set[int] = set()
        self._heard = False
        self._greet()

    def _greet(self) -> None:
        self._process.loop.call_later(GREETING_SECONDS, self._greet)
        heard, self._heard = self._heard, False
        if not heard:
            for peer in sorted(self._peers & self._world.members.keys()):
                self._greet_one(self._world.members[peer])

    def _greet_one(self, target: Process) -> None:
        own = self._process.id

        def arrive() -> None:
            if target.running and own in target.peers.removed:
                target.peers.refuse(own)

        self._world.network.send(own, target.id, arrive)

    def set_peer(self, member_id: int, urls: Sequence[str]) -> None:
        """Reach a member from now on; URLs mean nothing here."""
        self._peers.add(member_id)

    def remove_peer(self, member_id: int) -> None:
        """Stop talking to a member."""
        self._peers.discard(member_id)

    def hurry(self, peer_id: int) -> None:
        """Nothing is held back."""

    def send(self, messages: Sequence[Message], *, at_once: bool = False) -> None:
        """Each message travels alone, so that they overtake each other."""
        for message in messages:
            if message.to in self._peers and message.to in self._world.members:
                self._send(message)

    def _send(self, message: Message) -> None:
        world, source, loop = self._world, self._process, self._process.loop
        target = world.members[message.to]
        data = encode_message(message)

        def arrive() -> None:
            if target.running:
                target.loop.run(lambda: target.peers.receive(data))

        def lost() -> None:
            loop.run(lambda: source.node.unreachable(message.to))

        # Whether the sender learns of a loss is a matter of luck: connections break late.
        told = lost if world.rng.random() < 0.5 else None
        # A stream delivers nothing twice. Raft does not depend on that, but for proposals: they
        # carry no identity, and each copy would be an entry of its own.
        once = message.kind is MessageKind.PROPOSE
        world.network.send(source.id, message.to, arrive, told, once=once)

    def receive(self, data: bytes) -> None:
        """A message of another member arrives; one that was removed is told so instead."""
        message = decode_message(data)
        if message.sender in self.removed:
            self.refuse(message.sender)
            return
        self._heard = True
        # Its greeting says how to reach it, should we not have heard of it yet.
        self._peers.add(message.sender)
        self._world.trace_message(message)
        self._process.node.receive([message])

    def refuse(self, sender: int) -> None:
        """Tell a member that it was removed."""
        target = self._world.members[sender]

        def tell() -> None:
            if target.running:
                target.loop.run(target.node.removed_from_cluster)

        self._world.network.send(self._process.id, sender, tell)

    async def send_snapshot(self, message: Message, path: Path) -> None:
        """Send a SNAPSHOT message and its file; tells the node how it went."""
        assert message.snapshot
        self._world.count("snapshot sent")
        world, source, loop = self._world, self._process, self._process.loop
        target = world.members.get(message.to)
        if target is None:
            source.node.snapshot_sent(message.to, False)
            return
        outcome: asyncio.Future[bool] = loop.create_future()
        file = source.disk.files_by_path[path].duplicate()
        data = encode_message(message)
        world.note(
            "m%d sends a snapshot at %d to m%d", source.id, message.snapshot.index, target.id
        )

        def answer(ok: bool) -> None:
            loop.run(lambda: None if outcome.done() else outcome.set_result(ok))

        async def take() -> None:
            incoming = target.disk.incoming()
            target.disk.files_by_path[incoming] = file.duplicate()
            await target.node.snapshot_received(decode_message(data), incoming)
            world.network.send(target.id, source.id, lambda: answer(True))

        def arrive() -> None:
            if target.running:
                target.loop.run(lambda: target.loop.create_task(take()))

        world.network.send(source.id, target.id, arrive, transfer=SNAPSHOT_SECONDS)
        try:
            async with asyncio.timeout(SNAPSHOT_TIMEOUT_SECONDS):
                ok = await outcome
        except TimeoutError:
            ok = False
        source.node.snapshot_sent(message.to, ok)

    async def call(self, peer_id: int, kind: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109
        """Ask one member something; raises RpcError."""
        world, source, loop = self._world, self._process, self._process.loop
        target = world.members[peer_id]
        answer: asyncio.Future[bytes] = loop.create_future()

        def reply(result: bytes | RpcError) -> None:
            def settle() -> None:
                if answer.done():
                    return
                if isinstance(result, RpcError):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

            world.network.send(target.id, source.id, lambda: loop.run(settle), once=True)

        async def serve() -> None:
            try:
                result = await target.node.forwarded(kind, payload)
            except RpcError as error:
                reply(error)
            else:
                reply(result)

        def arrive() -> None:
            if target.running:
                target.loop.run(lambda: target.loop.create_task(serve()))

        world.network.send(source.id, peer_id, arrive, once=True)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise Failure.TIMEOUT.error() from None

    def connected_since(self, peer_id: int) -> float | None:
        """Since when the member has been reachable: always, or not now."""
        return 0.0 if self._world.network.passes(self._process.id, peer_id) else None

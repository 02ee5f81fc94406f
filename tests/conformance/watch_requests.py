"""Random watch episodes: several streams of several watches among writes and compactions."""

import random

from pykvd.pb import rpc_pb2
from tests.conformance.kv_requests import random_delete, random_put
from tests.conformance.revisions import compacted, now
from tests.conformance.steps import Call, Cancel, Create, Progress, Settle, Step
from tests.conformance.txns import random_txn
from tests.conformance.universe import EVERYTHING, KEYS, Dice
from tests.harness import methods

STREAMS = (0, 1, 2)
#: Ids that clients choose; -1 is what refusals carry and yet may be chosen.
CHOSEN_IDS = (-1, -7, 1, 2, 5, 1 << 40)
UNKNOWN_FILTER = 5
FIRST_REFUSED_ID = 9000


class WatchEpisode:
    """Makes one episode; keeps count of ids that must not be used twice."""

    def __init__(self, rng: random.Random) -> None:
        self.dice = Dice(rng)
        self.next_refused = FIRST_REFUSED_ID

    def steps(self, length: int) -> list[Step]:
        """About `length` steps, ended by a settlement."""
        steps: list[Step] = []
        while len(steps) < length:
            steps.extend(self._step())
        return [*steps, Settle()]

    def _step(self) -> list[Step]:
        dice = self.dice
        stream = dice.pick(STREAMS)
        choice = dice.rng.random()
        if choice < 0.22:
            return [Create(stream, self._create_request())]
        if choice < 0.28:
            # What is on its way when a watch is cancelled may or may not arrive.
            return [Settle(), Cancel(stream, dice.pick((*CHOSEN_IDS, 0, 3, 4, 77)))]
        if choice < 0.31:
            return [Settle(), Progress(stream)]
        if choice < 0.335:
            # A watch that is still catching up may or may not be overtaken by a compaction.
            revision = now(-dice.rng.randrange(8))
            compaction = rpc_pb2.CompactionRequest(revision=revision, physical=True)
            return [Settle(), Call(methods.COMPACT, compaction)]
        if choice < 0.35:
            return [Settle()]
        return [self._write()]

    def _write(self) -> Step:
        choice = self.dice.rng.random()
        if choice < 0.5:
            return Call(methods.PUT, random_put(self.dice))
        if choice < 0.7:
            return Call(methods.DELETE, random_delete(self.dice))
        if choice < 0.75:
            return Call(methods.TXN, self._put_and_delete())
        return Call(methods.TXN, random_txn(self.dice))

    def _put_and_delete(self) -> rpc_pb2.TxnRequest:
        """The one way to change a key twice at one revision."""
        key = self.dice.pick(KEYS)
        put = rpc_pb2.PutRequest(key=key, value=b"soon gone")
        delete = rpc_pb2.DeleteRangeRequest(key=key, range_end=EVERYTHING)
        success = [
            rpc_pb2.RequestOp(request_put=put),
            rpc_pb2.RequestOp(request_delete_range=delete),
        ]
        return rpc_pb2.TxnRequest(success=success)

    def _create_request(self) -> rpc_pb2.WatchCreateRequest:
        dice = self.dice
        key = dice.key()
        request = rpc_pb2.WatchCreateRequest(key=key, range_end=dice.interval(key, single=0.3))
        request.prev_kv = dice.chance(0.5)
        request.fragment = dice.chance(0.2)
        if dice.chance(0.4):
            request.watch_id = dice.pick(CHOSEN_IDS)
        if dice.chance(0.25):
            request.filters.append(self._filter())
        if dice.chance(0.03):
            request.filters.append(self._filter())
        if dice.chance(0.03):
            request.start_revision = dice.pick((-1, -100))
            self.next_refused += 1
            request.watch_id = self.next_refused
        elif dice.chance(0.5) and len(set(request.filters)) < 2:
            request.start_revision = self._start()
        return request

    def _filter(self) -> rpc_pb2.WatchCreateRequest.FilterType:
        if self.dice.chance(0.05):
            return UNKNOWN_FILTER  # type: ignore[return-value]  # not in the enum
        return self.dice.pick(
            (rpc_pb2.WatchCreateRequest.NOPUT, rpc_pb2.WatchCreateRequest.NODELETE)
        )

    def _start(self) -> int:
        choice = self.dice.rng.random()
        if choice < 0.6:
            return now(-self.dice.rng.randrange(15))
        if choice < 0.8:
            return compacted(self.dice.rng.randrange(-2, 3))
        if choice < 0.95:
            return now(self.dice.rng.randrange(1, 8))
        return 1


def watch_episode(rng: random.Random, length: int) -> list[Step]:
    """About `length` steps on watch streams."""
    return WatchEpisode(rng).steps(length)

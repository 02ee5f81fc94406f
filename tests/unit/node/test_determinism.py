"""The same log gives the same state: on every member, and after a crash at any moment.

The store's file is always the exact state at some applied index, so loading it and applying the
entries behind that index must lead to where the member would be without the crash: the same
answers, the same tables, the same bytes.
"""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pykvd.cluster.membership import Action, Member, MemberChange
from pykvd.node.commands import Command
from pykvd.pb import rpc_pb2 as rpc
from tests.unit.node.histories import Entry, auth_entries, entries
from tests.unit.node.machine import Machine

#: What happens to a member before an entry is applied.
QUIET, COMMIT, CRASH, SWEEP_SOME = range(4)


def state(machine: Machine) -> dict[str, object]:
    """Everything that is replicated, as it is in memory and in the file."""
    machine.sweep()
    machine.commit()
    store, applier = machine.disk.store, machine.applier
    return {
        "revision": store.revision,
        "compacted": store.compact_revision,
        "live": store.index.live,
        "past": store.index.past,
        "lease of": store.lease_of,
        "leases": {
            lease.id: (lease.ttl, lease.remaining, lease.keys)
            for lease in applier.lessor.leases.values()
        },
        "alarms": applier.alarms,
        "auth": (applier.auth.enabled, applier.auth.revision),
        "users": applier.auth.users,
        "roles": applier.auth.roles,
        "members": applier.membership.members,
        "file": machine.disk.run(
            machine.disk.backend.read(lambda environment: list(environment.everything()))
        ),
    }


def begin(machine: Machine) -> None:
    machine.applier.change_member(MemberChange(Action.ADD, Member(1, "", ("http://a:2380",)), 1, 1))
    machine.commit()


def undisturbed(log: list[Entry]) -> tuple[list[bytes], dict[str, object]]:
    """The answers and the state of a member that nothing happens to."""
    machine = Machine()
    try:
        begin(machine)
        return [machine.apply(*entry) for entry in log], state(machine)
    finally:
        machine.close()


LEASED_KEY: list[Entry] = [
    (Command.LEASE_GRANT, rpc.LeaseGrantRequest(ID=7, TTL=60)),
    (Command.PUT, rpc.PutRequest(key=b"k", lease=7)),
    (Command.PUT, rpc.PutRequest(key=b"k")),
    (Command.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=7)),
    (Command.DELETE_RANGE, rpc.DeleteRangeRequest(key=b"k")),
    (Command.COMPACT, rpc.CompactionRequest(revision=4)),
]


ROOT_EXISTS: list[Entry] = [
    (Command.USER_ADD, rpc.AuthUserAddRequest(name="root", hashedPassword="aGFzaA==")),
    (Command.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user="root", role="root")),
    (Command.ROLE_ADD, rpc.AuthRoleAddRequest(name="r")),
]
logs = st.one_of(
    st.lists(entries, min_size=6, max_size=30),
    st.lists(auth_entries, min_size=6, max_size=30).map(lambda log: [*ROOT_EXISTS, *log]),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    log=logs,
    fate=st.lists(st.sampled_from((QUIET, QUIET, COMMIT, CRASH, SWEEP_SOME)), max_size=30),
)
@example(log=LEASED_KEY, fate=[COMMIT, CRASH, COMMIT, CRASH, CRASH, COMMIT, CRASH])
def test_a_crash_at_any_moment_changes_nothing(log: list[Entry], fate: list[int]) -> None:
    answers, expected = undisturbed(log)
    machine = Machine()
    try:
        begin(machine)
        position = committed = 0
        for event in [*fate, *[QUIET] * len(log)]:
            if event == COMMIT:
                machine.commit()
                committed = position
            elif event == CRASH:
                machine.reload()
                position = committed
            elif event == SWEEP_SOME and machine.disk.store.compact_revision >= 0:
                next(machine.disk.store.sweep(1), None)
            if position < len(log):
                assert machine.apply(*log[position]) == answers[position]
                position += 1
        assert state(machine) == expected
        machine.reload()
        assert state(machine) == expected
    finally:
        machine.close()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(log=logs, lead=st.integers(0, 20))
def test_leading_changes_nothing_that_is_replicated(log: list[Entry], lead: int) -> None:
    """Clocks run on the leader alone, and nothing that they touch may reach the file."""
    answers, expected = undisturbed(log)
    machine = Machine()
    try:
        begin(machine)
        for position, entry in enumerate(log):
            machine.now += 0.7
            if position == lead:
                machine.applier.lessor.promote(machine.now, 1.0)
            assert machine.apply(*entry) == answers[position]
            machine.applier.lessor.expired(machine.now, 10)
        assert state(machine) == expected
    finally:
        machine.close()

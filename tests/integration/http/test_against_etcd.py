"""The same JSON to this server and to a real etcd, answers compared where the rules agree.

etcd 3.4 has an older gateway: its errors are worded otherwise and it takes less (no URL-safe
base64), so of errors only the status and the code are compared. What differs between any two
servers (ids, terms, sizes, hashes, versions) is left out.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import ETCD, PYKVD, Server, running
from tests.integration.http.serving import Connection

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(not ETCD.installed(), reason="Debian's etcd-server is not installed"),
]

OWN = {
    "cluster_id", "member_id", "raft_term", "version", "dbSize", "dbSizeInUse", "leader",
    "raftIndex", "raftTerm", "raftAppliedIndex", "storageVersion", "dbSizeQuota", "downgradeInfo",
    "hash", "hash_revision", "peerURLs", "clientURLs", "blob", "remaining_bytes",
}  # fmt: skip
#: Ids that the server chooses.
CHOSEN = re.compile(r"\d{10,}")

PUT = [
    {"key": "YQ==", "value": "MQ=="},
    {"key": "Yg==", "value": "Mg==", "prev_kv": True},
    {"key": "YQ==", "value": "Mw==", "prevKv": True},
    {"key": "Yw==", "value": "", "lease": "7777"},
    {"key": "YQ==", "ignore_value": True, "prev_kv": True},
    {"key": "YQ==", "value": "MQ==", "ignore_value": True},
    {"key": "ZA==", "ignore_value": True},
    {"key": "ZA==", "lease": 99},
    {"key": ""},
    {},
    {"key": 5},
    {"key": "YQ==", "lease": "x"},
    {"key": "YQ==", "lease": 1.5},
    {"key": "YQ==", "prev_kv": "true"},
    {"key": "YQ==", "unknown": {"x": [1]}},
    {"key": None, "value": None},
]
RANGE = [
    {"key": "YQ=="},
    {"key": "YQ==", "range_end": "eg=="},
    {"key": "AA==", "rangeEnd": "AA==", "limit": "1"},
    {"key": "AA==", "range_end": "AA==", "count_only": True},
    {"key": "AA==", "range_end": "AA==", "keys_only": True, "sort_order": "DESCEND"},
    {"key": "AA==", "range_end": "AA==", "sort_order": 1, "sort_target": "VALUE"},
    {"key": "AA==", "range_end": "AA==", "sort_target": 3, "sortOrder": 2, "limit": 2},
    {"key": "YQ==", "revision": "3"},
    {"key": "YQ==", "revision": 3, "serializable": True},
    {"key": "YQ==", "revision": "99999"},
    {"key": "eg=="},
    {"key": ""},
    {"key": "YQ==", "limit": -1},
    {"key": "AA==", "range_end": "AA==", "min_mod_revision": "4", "max_create_revision": "6"},
    {"key": "YQ==", "limit": "9223372036854775808"},
]
TXN: list[Any] = [
    {},
    {"success": [{"request_put": {"key": "ZA==", "value": "MQ=="}}]},
    {
        "compare": [{"key": "ZA==", "target": "VALUE", "result": "EQUAL", "value": "MQ=="}],
        "success": [
            {"request_range": {"key": "ZA=="}},
            {"requestPut": {"key": "ZA==", "value": "Mg==", "prevKv": True}},
            {"request_delete_range": {"key": "Yg==", "prev_kv": True}},
        ],
        "failure": [{"request_range": {"key": "ZA=="}}],
    },
    {
        "compare": [{"key": "ZA==", "target": "VERSION", "result": "GREATER", "version": "99"}],
        "failure": [
            {"request_txn": {"success": [{"request_put": {"key": "bg==", "value": "bg=="}}]}}
        ],
    },
    {"compare": [{"key": "ZA==", "target": 1, "result": 0, "create_revision": 0}]},
    {"success": [{"request_put": {"key": "eA=="}}, {"request_put": {"key": "eA=="}}]},
    {"success": [{"request_put": {}}]},
    {"success": {"request_put": {}}},
    {"success": [{"request_range": {"key": "YQ=="}}] * 129},
    {"success": [{}]},
]
STEPS: list[tuple[str, Any]] = [
    ("lease/grant", {"TTL": "1000", "ID": "7777"}),
    ("lease/grant", {"TTL": "1000", "ID": "7777"}),
    ("lease/grant", {"TTL": 9999999999}),
    *(("kv/put", body) for body in PUT),
    *(("kv/range", body) for body in RANGE),
    *(("kv/txn", body) for body in TXN),
    ("lease/timetolive", {"ID": "7777", "keys": True}),
    ("kv/lease/timetolive", {"ID": "1"}),
    ("lease/leases", {}),
    ("lease/keepalive", {"ID": "7777"}),
    ("lease/keepalive", {"ID": "1"}),
    ("kv/deleterange", {"key": "YQ==", "prev_kv": True}),
    ("kv/deleterange", {"key": "YQ=="}),
    ("kv/deleterange", {"key": ""}),
    ("kv/deleterange", {"key": "AA==", "range_end": "AA=="}),
    ("kv/compaction", {"revision": "5"}),
    ("kv/compaction", {"revision": "5"}),
    ("kv/compaction", {"revision": "99999"}),
    ("kv/range", {"key": "YQ==", "revision": "2"}),
    ("kv/lease/revoke", {"ID": "7777"}),
    ("lease/revoke", {"ID": "7777"}),
    ("maintenance/status", {}),
    ("maintenance/alarm", {"action": "ACTIVATE", "memberID": "5", "alarm": "NOSPACE"}),
    ("maintenance/alarm", {"action": "GET"}),
    ("kv/put", {"key": "YQ=="}),
    ("maintenance/alarm", {"action": "DEACTIVATE", "memberID": "5", "alarm": "NOSPACE"}),
    ("maintenance/alarm", {"action": "DEACTIVATE", "memberID": "5", "alarm": "NOSPACE"}),
    ("maintenance/hash", {}),
    ("maintenance/defragment", {}),
    ("maintenance/transfer-leadership", {"targetID": "5"}),
    ("cluster/member/list", {}),
    ("cluster/member/remove", {"ID": "5"}),
    ("cluster/member/promote", {"ID": "5"}),
    ("cluster/member/add", {"peerURLs": ["nonsense"]}),
    ("auth/user/list", {}),
    ("auth/authenticate", {"name": "x", "password": "y"}),
    ("auth/user/add", {"name": "u1", "password": "p1"}),
    ("auth/user/add", {"name": "u1", "password": "p1"}),
    ("auth/user/get", {"name": "u1"}),
    ("auth/role/add", {"name": "r1"}),
    (
        "auth/role/grant",
        {"name": "r1", "perm": {"permType": "READWRITE", "key": "YQ==", "range_end": "Yg=="}},
    ),
    ("auth/role/grant", {"name": "r1", "perm": {"key": "Yg=="}}),
    ("auth/role/get", {"role": "r1"}),
    ("auth/user/grant", {"user": "u1", "role": "r1"}),
    ("auth/enable", {}),
    ("nope", {}),
]
#: Statuses of one code that the generations of the gateway map differently.
SAME_STATUS = {412: 400}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with running(PYKVD) as ours, running(ETCD) as theirs:
        yield ours, theirs


def shown(answer: Any) -> Any:
    """An answer without what two servers never share."""
    if isinstance(answer, dict):
        return {name: shown(value) for name, value in answer.items() if name not in OWN}
    if isinstance(answer, list):
        return [shown(value) for value in answer]
    return CHOSEN.sub("chosen", answer) if isinstance(answer, str) else answer


def outcome(connection: Connection, path: str, body: object) -> tuple[int, object]:
    answer = connection.request("POST", f"/v3/{path}", json.dumps(body).encode())
    status = SAME_STATUS.get(answer.status, answer.status)
    if status == 404 and path == "nope":
        return status, None
    values = [json.loads(line) for line in answer.body.splitlines()]
    if status == 200 and path == "maintenance/alarm":
        return status, shown(values[0].get("alarms"))  # 3.4 has no header here
    if status == 200:
        return status, [shown(value) for value in values]
    return status, values[0]["code"]


def test_answers_are_those_of_etcd(servers: tuple[Server, Server]) -> None:
    ours, theirs = (Connection(server.endpoint) for server in servers)
    differences = []
    with ours, theirs:
        for path, body in STEPS:
            found, wanted = outcome(ours, path, body), outcome(theirs, path, body)
            if found != wanted:
                differences.append((path, body, found, wanted))
    for path, body, found, wanted in differences:
        print(path, json.dumps(body)[:200], "\n  ours  ", found, "\n  theirs", wanted)
    assert not differences

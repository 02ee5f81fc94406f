"""What speaks HTTP to etcd: etcd3gw, a session as Patroni has it, curl as people type it."""

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from etcd3gw import exceptions
from etcd3gw.client import Etcd3Client

from tests.harness import PYKVD, Server, kind_from_environment, running
from tests.integration.http.serving import Connection


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(kind_from_environment("PYKVD_TEST_SUBJECT", PYKVD)) as server:
        yield server


@contextmanager
def running_client(port: int) -> Iterator[Etcd3Client]:
    client = Etcd3Client("127.0.0.1", port, timeout=20)
    try:
        yield client
    finally:
        client.session.close()


@pytest.fixture
def gw(server: Server) -> Iterator[Etcd3Client]:
    with running_client(server.client_port) as client:
        yield client


class TestEtcd3gw:
    """All public calls of the library."""

    def test_finds_the_api_by_itself(self, gw: Etcd3Client) -> None:
        assert gw.api_path == "/v3/"

    def test_status_and_members(self, gw: Etcd3Client) -> None:
        assert gw.status()["version"].startswith("3.")
        (member,) = gw.members()
        assert member["name"] == "default"

    def test_keys(self, gw: Etcd3Client) -> None:
        assert gw.put("k", "v1")
        assert gw.get("k") == [b"v1"]
        assert gw.get("missing") == []
        ((value, facts),) = gw.get("k", metadata=True)
        assert (value, facts["version"]) == (b"v1", "1")
        assert gw.create("new", "x")
        assert not gw.create("new", "y")
        assert gw.replace("new", "x", "z")
        assert not gw.replace("new", "x", "q")
        assert gw.get("new") == [b"z"]
        assert gw.delete("new")
        assert not gw.delete("new")

    def test_ranges(self, gw: Etcd3Client) -> None:
        for number in (3, 1, 2):
            gw.put(f"p/{number}", str(number))
        assert [value for value, _ in gw.get_prefix("p/")] == [b"1", b"2", b"3"]
        descending = gw.get_prefix("p/", sort_order="descend", sort_target="key")
        assert [value for value, _ in descending] == [b"3", b"2", b"1"]
        limited = gw.get("p/", range_end="p0", limit=2, serializable=True)
        assert limited == [b"1", b"2"]
        assert {facts["key"] for _, facts in gw.get_all()} >= {b"p/1", b"p/2", b"p/3"}
        assert gw.delete_prefix("p/")
        assert gw.get_prefix("p/") == []

    def test_binary_values(self, gw: Etcd3Client) -> None:
        value = bytes(range(256))
        gw.put("binary", value)
        assert gw.get("binary") == [value]

    def test_transaction(self, gw: Etcd3Client) -> None:
        key = base64.b64encode(b"t").decode()
        put = {"request_put": {"key": key, "value": key}}
        txn = {
            "compare": [{"key": key, "result": "EQUAL", "target": "VERSION", "version": 0}],
            "success": [put],
            "failure": [{"request_delete_range": {"key": key}}],
        }
        assert gw.transaction(txn)["succeeded"] is True
        assert "succeeded" not in gw.transaction(txn)
        assert gw.get("t") == []

    def test_leases(self, gw: Etcd3Client) -> None:
        lease = gw.lease(ttl=100)
        assert gw.put("leased", "x", lease)
        assert lease.keys() == [b"leased"]
        assert 0 < lease.ttl() <= 100
        assert lease.refresh() == 100
        assert lease.revoke()
        assert gw.get("leased") == []
        assert lease.ttl() == -1

    def test_locks(self, gw: Etcd3Client) -> None:
        lock = gw.lock("l", ttl=60)
        assert lock.acquire()
        assert lock.is_acquired()
        assert not gw.lock("l", ttl=60).acquire()
        assert lock.refresh() > 0
        assert lock.release()
        assert not lock.is_acquired()
        with gw.lock("l", ttl=60) as again:
            assert again.is_acquired()

    def test_watches(self, gw: Etcd3Client) -> None:
        events, cancel = gw.watch("w")
        prefixed, cancel_prefixed = gw.watch_prefix("w")
        gw.put("w", "1")
        gw.delete("w")
        gw.put("w2", "2")
        seen = [next(events) for _ in range(2)]
        assert [event.get("type", "PUT") for event in seen] == ["PUT", "DELETE"]
        keys = [next(prefixed)["kv"]["key"] for _ in range(3)]
        assert keys == [b"w", b"w", b"w2"]
        cancel()
        cancel_prefixed()

    def test_watch_once(self, gw: Etcd3Client) -> None:
        """Many events: the library loses one that comes together with the watch's creation.

        It also encodes the end of a prefix twice, which only suits prefixes that sort before it.
        """
        seen = threading.Event()

        def put_often() -> None:
            with running_client(gw.port) as other:
                while not seen.wait(0.02):
                    other.put("A/once", "x")

        writer = threading.Thread(target=put_often)
        writer.start()
        try:
            assert gw.watch_once("A/once", 10)["kv"]["key"] == b"A/once"
            assert gw.watch_prefix_once("A/", 10)["kv"]["value"] == b"x"
        finally:
            seen.set()
            writer.join()
        with pytest.raises(exceptions.WatchTimedOut):
            gw.watch_once("never", 0.2)

    def test_errors(self, gw: Etcd3Client) -> None:
        with pytest.raises(exceptions.Etcd3Exception) as caught:
            gw.put("", "x")
        assert "key is not provided" in str(caught.value.detail_text)


class Session:
    """One keep-alive connection, as an HTTP pool has it."""

    def __init__(self, server: Server) -> None:
        self._connection = Connection(server.endpoint)

    def post(self, path: str, **request: object) -> tuple[int, dict[str, object]]:
        answer = self._connection.request("POST", f"/v3{path}", json.dumps(request).encode())
        return answer.status, answer.json

    def close(self) -> None:
        self._connection.close()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_session_of_a_leader_election(server: Server) -> None:
    """What Patroni's etcd3 driver does: find members, take the leader key, keep it, lose it."""
    session = Session(server)
    status, members = session.post("/cluster/member/list")
    assert status == 200
    assert members["members"][0]["clientURLs"] == [server.url]  # type: ignore[index]

    _, lease = session.post("/lease/grant", TTL=30)
    prefix, leader = "/service/demo/", "/service/demo/leader"
    free = {"key": b64(leader), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
    take = {"request_put": {"key": b64(leader), "value": b64("n1"), "lease": lease["ID"]}}
    status, taken = session.post("/kv/txn", compare=[free], success=[take], failure=[])
    assert taken["succeeded"] is True
    status, again = session.post("/kv/txn", compare=[free], success=[take], failure=[])
    assert "succeeded" not in again

    status, found = session.post("/kv/range", key=b64(prefix), range_end=b64("/service/demo0"))
    (kv,) = found["kvs"]  # type: ignore[misc]
    assert (kv["value"], kv["lease"]) == (b64("n1"), lease["ID"])  # type: ignore[has-type]

    lines: list[dict[str, dict[str, object]]] = []
    ended = threading.Event()
    revision = int(found["header"]["revision"]) + 1  # type: ignore[index]
    watch = {"key": b64(prefix), "range_end": b64("/service/demo0"), "start_revision": revision}

    def read() -> None:
        with Connection(server.endpoint) as connection:
            body = json.dumps({"create_request": watch}).encode()
            head = f"POST /v3/watch HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.send(head.encode() + body)
            while len(lines) < 2:
                line = connection.line()
                if line.startswith(b"{"):
                    lines.append(json.loads(line))
            ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    # A keep-alive answers one line and ends; what follows on the connection is the next answer.
    status, kept = session.post("/lease/keepalive", ID=lease["ID"])
    assert (status, kept["result"]["TTL"]) == (200, "30")  # type: ignore[index]
    status, _ = session.post("/lease/revoke", ID=lease["ID"])
    assert status == 200
    assert ended.wait(20)
    reader.join()
    assert lines[0]["result"]["created"] is True
    (event,) = lines[1]["result"]["events"]  # type: ignore[misc]
    assert (event["type"], event["kv"]["key"]) == ("DELETE", b64(leader))  # type: ignore[has-type]

    status, gone = session.post("/lease/keepalive", ID=lease["ID"])
    assert "TTL" not in gone["result"]  # type: ignore[operator]
    take["request_put"]["lease"] = lease["ID"]
    status, refused = session.post("/kv/txn", compare=[free], success=[take], failure=[])
    assert (status, refused["code"]) == (404, 5)
    assert refused["error"] == "etcdserver: requested lease not found"
    session.close()


def curl(*arguments: str) -> str:
    command = ["curl", "-sS", "-m", "20", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_curl(server: Server) -> None:
    assert "# TYPE etcd_server_has_leader gauge\netcd_server_has_leader 1\n" in curl(
        "-L", f"{server.url}/metrics"
    )
    assert json.loads(curl("-L", f"{server.url}/version"))["etcdserver"].startswith("3.")
    assert json.loads(curl("-L", f"{server.url}/health"))["health"] == "true"
    (member,) = json.loads(curl("-L", f"http://127.0.0.1:{server.peer_port}/members"))
    assert member["name"] == "default"
    put = curl("-L", f"{server.url}/v3/kv/put", "-X", "POST", "-d", '{"key":"Zm9v","value":"YmFy"}')
    assert json.loads(put)["header"]["revision"]
    found = json.loads(curl("-L", f"{server.url}/v3/kv/range", "-d", '{"key": "Zm9v"}'))
    assert found["kvs"][0]["value"] == "YmFy"

"""The plain endpoints of the client port, the metrics ports and the peer port."""

import json
import re
import socket
import subprocess
from http.client import HTTPResponse
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pykvd.version import API_VERSION, VERSION
from tests.harness import PYKVD, Server, free_port, running
from tests.integration.http.serving import Connection, call, get

TEXT = "text/plain; charset=utf-8"
CORS = {
    "access-control-allow-headers": "accept, content-type, authorization",
    "access-control-allow-methods": "POST, GET, OPTIONS, PUT, DELETE",
    "access-control-allow-origin": "*",
}


def test_health(server: Server) -> None:
    answer = get(server.endpoint, "/health")
    assert (answer.status, answer.body) == (200, b'{"health":"true","reason":""}')
    assert answer.headers["content-type"] == TEXT
    assert "x-content-type-options" not in answer.headers
    assert get(server.endpoint, "/health?serializable=true").body == answer.body
    assert get(server.endpoint, "/health?exclude=NOSPACE&exclude=&exclude=x").status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        ("/livez/serializable_read", "ok\n"),
        ("/readyz/data_corruption", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        (
            "/readyz?verbose&exclude=non_learner&exclude=nope",
            "[+]serializable_read ok\n[+]linearizable_read ok\n[+]data_corruption ok\nok\n",
        ),
        ("/readyz/non_learner?verbose=1", "[+]non_learner ok\nok\n"),
    ],
)
def test_probes(server: Server, path: str, body: str) -> None:
    answer = get(server.endpoint, path)
    assert (answer.status, answer.body.decode()) == (200, body)
    assert answer.headers["content-type"] == TEXT
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_unknown_probe(server: Server) -> None:
    assert get(server.endpoint, "/readyz/nope").status == 404
    assert get(server.endpoint, "/livez/linearizable_read").status == 404


@pytest.mark.parametrize("kind", ["NOSPACE", "CORRUPT"])
def test_alarms_show_and_say_what_to_do(kind: str) -> None:
    with running(PYKVD) as server:
        alarm = {"action": "ACTIVATE", "memberID": "4660", "alarm": kind}
        assert call(server.endpoint, "/v3/maintenance/alarm", alarm).status == 200
        answer = get(server.endpoint, "/health")
        body = f'{{"health":"false","reason":"ALARM {kind}"}}\n'
        assert (answer.status, answer.body.decode()) == (503, body)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert get(server.endpoint, f"/health?exclude={kind}").status == 200
        assert get(server.endpoint, f"/health?exclude={kind.lower()}").status == 503
        (advice,) = get(server.endpoint, "/health?verbose").json["advice"]
        assert "member 1234" in advice
        assert "pykvctl alarm disarm" in advice
        ready = get(server.endpoint, "/readyz")
        assert ready.status == (503 if kind == "CORRUPT" else 200)
        if kind == "CORRUPT":
            assert "[-]data_corruption failed: alarm activated: CORRUPT\n" in ready.body.decode()
            assert ready.body.endswith(b"\n\n")
        assert get(server.endpoint, "/livez").status == 200
        alarm["action"] = "DEACTIVATE"
        assert call(server.endpoint, "/v3/maintenance/alarm", alarm).status == 200
        assert get(server.endpoint, "/health").status == 200


def test_version(server: Server) -> None:
    answer = get(server.endpoint, "/version")
    assert answer.headers["content-type"] == "application/json"
    assert not answer.body.endswith(b"\n")
    minor = API_VERSION.rpartition(".")[0]
    assert list(answer.json.items())[:3] == [
        ("etcdserver", API_VERSION),
        ("etcdcluster", f"{minor}.0"),
        ("storage", f"{minor}.0"),
    ]
    assert answer.json["pykvd"] == VERSION


def test_metrics(server: Server) -> None:
    answer = get(server.endpoint, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert "etcd_server_has_leader" in {family.name for family in families}
    for method in ("POST", "HEAD"):
        with Connection(server.endpoint) as connection:
            assert connection.request(method, "/metrics").status == 200


def test_metrics_are_compressed_for_those_who_can_read_it(server: Server) -> None:
    command = ["curl", "-s", "--compressed", f"{server.url}/metrics"]
    page = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
    assert page.startswith(b"# HELP ")
    packed = get(server.endpoint, "/metrics", Accept_Encoding="deflate, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(page) / 3
    assert (
        "content-encoding"
        not in get(server.endpoint, "/metrics", Accept_Encoding="gzip;q=0").headers
    )


def test_health_counts_itself(server: Server) -> None:
    def successes() -> float:
        page = get(server.endpoint, "/metrics").body.decode()
        match = re.search(r"^etcd_server_health_success (\S+)$", page, re.MULTILINE)
        assert match
        return float(match[1])

    before = successes()
    get(server.endpoint, "/health")
    get(server.endpoint, "/readyz")
    assert successes() == before + 1
    page = get(server.endpoint, "/metrics").body.decode()
    assert 'etcd_server_healthcheck{type="readyz",name="linearizable_read"} 1' in page


def test_variables(server: Server) -> None:
    answer = get(server.endpoint, "/debug/vars")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    names = list(answer.json)
    assert names == sorted(names)
    assert answer.json["raft.status"]["raftState"] == "StateLeader"
    assert answer.json["raft.status"]["lead"] == answer.json["raft.status"]["id"]


def test_profiles_are_off_unless_asked_for(server: Server) -> None:
    assert get(server.endpoint, "/debug/pprof/").status == 404


def test_profiles() -> None:
    with running(PYKVD, ["--enable-pprof"]) as server:
        for name in ("", "cmdline", "goroutine", "threadcreate", "heap", "allocs"):
            assert get(server.endpoint, f"/debug/pprof/{name}").status == 200, name
        assert b"pykvd-wal" in get(server.endpoint, "/debug/pprof/goroutine").body
        profile = get(server.endpoint, "/debug/pprof/profile?seconds=0.2").body.decode()
        assert re.fullmatch(r"(.+ \d+\n)+", profile)
        assert get(server.endpoint, "/debug/pprof/profile?seconds=x").status == 400
        assert get(server.endpoint, "/debug/pprof/profile?seconds=nan").status == 400
        for name in ("block", "mutex", "symbol", "trace"):
            assert get(server.endpoint, f"/debug/pprof/{name}").status == 501
        assert get(server.endpoint, "/debug/pprof/nope").status == 404


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/version", "/debug/vars"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
def test_wrong_methods(server: Server, method: str, path: str) -> None:
    with Connection(server.endpoint) as connection:
        answer = connection.request(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
        assert answer.body == (b"" if method == "HEAD" else b"Method Not Allowed\n")
        # The connection goes on, its answers where they belong.
        assert connection.request("GET", "/version").status == 200


def test_every_answer_has_the_cors_headers_first(server: Server) -> None:
    for path in ("/health", "/nope", "/v3/kv/range", "//health"):
        headers = get(server.endpoint, path).headers
        assert dict(list(headers.items())[:3]) == CORS


def test_options_is_fine_everywhere(server: Server) -> None:
    for path in ("/health", "/nope", "/v3/kv/put", "*"):
        with Connection(server.endpoint) as connection:
            answer = connection.request("OPTIONS", path)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == "0"
        assert answer.headers.items() >= CORS.items()


def test_unknown_paths(server: Server) -> None:
    for path in ("/", "/nope", "/etcdserverpb.KV/Range", "/members", "/v2/keys"):
        answer = get(server.endpoint, path)
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
        assert answer.headers["content-type"] == TEXT
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//health", "/health"),
        ("/a/../health?x=1", "/health?x=1"),
        ("/./version", "/version"),
        ("/v3", "/v3/"),
        ("/v3//kv/put", "/v3/kv/put"),
        ("/x/%2e%2e/health", "/health"),
    ],
)
def test_paths_are_cleaned_by_redirection(server: Server, path: str, location: str) -> None:
    answer = get(server.endpoint, path)
    assert (answer.status, answer.headers["location"]) == (301, location)
    assert b"<a href=" in answer.body
    assert call(server.endpoint, path).body == b""


def test_http_1_0(server: Server) -> None:
    with Connection(server.endpoint) as connection:
        connection.send(b"GET /health HTTP/1.0\r\n\r\n")
        answer = connection.answer()
        assert answer.body == b'{"health":"true","reason":""}'
        assert connection.rest() == b""
    with Connection(server.endpoint) as connection:
        connection.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        assert connection.answer().headers["connection"] == "keep-alive"
        assert connection.answer().status == 200


def test_peer_port(server: Server) -> None:
    peer = f"127.0.0.1:{server.peer_port}"
    answer = get(peer, "/members")
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[0-9a-f]{1,16}", answer.headers["x-etcd-cluster-id"])
    assert "access-control-allow-origin" not in answer.headers
    (member,) = answer.json
    assert list(member) == ["id", "peerURLs", "name", "clientURLs"]
    assert member["id"] == int(
        call(server.endpoint, "/v3/cluster/member/list").json["members"][0]["ID"]
    )
    assert (member["name"], member["clientURLs"]) == ("default", [server.url])
    assert answer.body.endswith(b"]\n")
    assert get(peer, "/version").json["etcdserver"] == API_VERSION
    assert get(peer, "/downgrade/enabled").body == b"false"
    for path in ("/health", "/metrics", "/v3/kv/range", "/nope"):
        assert get(peer, path).status == 404


def test_hash_on_the_peer_port(server: Server) -> None:
    with Connection(f"127.0.0.1:{server.peer_port}") as peer:
        answer = peer.request("GET", "/members/hashkv", b'{"revision":0}')
        wanted = call(server.endpoint, "/v3/maintenance/hashkv", {}).json
        assert answer.json == {
            "header": {"revision": int(wanted["header"]["revision"])},
            "hash": wanted["hash"],
            "compact_revision": int(wanted["compact_revision"]),
            "hash_revision": int(wanted["hash_revision"]),
        }
        for body in (b"", b"[]", b'{"revision":"x"}', b"{}"):
            refused = peer.request("GET", "/members/hashkv", body)
            assert (refused.status, refused.body) == (400, b"error unmarshalling request\n")
        future = peer.request("GET", "/members/hashkv", b'{"revision":99999}')
        assert (future.status, future.body[:5]) == (400, b"mvcc:")
        stranger = {"X-Etcd-Cluster-ID": "5"}
        assert peer.request("GET", "/members/hashkv", b"{}", stranger).status == 412
        for path in ("/members", "/members/hashkv", "/version"):
            assert peer.request("POST", path).status == 405


def test_ports_for_metrics_alone() -> None:
    ports = [free_port(), free_port()]
    urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    with running(PYKVD, [f"--listen-metrics-urls={urls}"]) as server:
        for port in ports:
            endpoint = f"127.0.0.1:{port}"
            for path in ("/metrics", "/health", "/livez", "/readyz"):
                answer = get(endpoint, path)
                assert answer.status == 200
                assert "access-control-allow-origin" not in answer.headers
            for path in ("/version", "/v3/kv/range", "/debug/vars"):
                assert get(endpoint, path).status == 404
        assert get(server.endpoint, "/metrics").status == 200


def test_ports_for_http_alone() -> None:
    port = free_port()
    with running(PYKVD, [f"--listen-client-http-urls=http://127.0.0.1:{port}"]) as server:
        endpoint = f"127.0.0.1:{port}"
        assert get(endpoint, "/health").status == 200
        assert call(endpoint, "/v3/kv/put", {"key": "YQ=="}).status == 200
        with Connection(server.endpoint) as connection:
            connection.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
            assert connection.rest() == b""


def test_unix_sockets(tmp_path: Path) -> None:
    path, metrics = tmp_path / "client", tmp_path / "metrics"
    flags = [f"--listen-client-urls=unix://{path}", f"--listen-metrics-urls=unix://{metrics}"]
    with running(PYKVD, flags):
        for place, target in ((path, "/version"), (metrics, "/health")):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(place))
                client.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                response = HTTPResponse(client)
                response.begin()
                assert response.status == 200
                json.loads(response.read())


def test_gateway_can_be_turned_off() -> None:
    with running(PYKVD, ["--enable-grpc-gateway=false"]) as server:
        answer = call(server.endpoint, "/v3/kv/range", {"key": "YQ=="})
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
        assert get(server.endpoint, "/health").status == 200


def test_allowed_origins() -> None:
    with running(PYKVD, ["--cors=https://a.example:1,https://b.example:2"]) as server:
        good = get(server.endpoint, "/version", Origin="https://b.example:2")
        assert good.headers["access-control-allow-origin"] == "https://b.example:2"
        for origin in ("https://b.example", "https://evil.example:2"):
            bad = get(server.endpoint, "/version", Origin=origin)
            assert bad.status == 200
            assert "access-control-allow-origin" not in bad.headers


def test_allowed_hosts() -> None:
    with running(PYKVD, ["--host-whitelist=good.example,127.0.0.1"]) as server:
        for host in ("good.example", "good.example:2379", "127.0.0.1:1"):
            with Connection(server.endpoint) as connection:
                connection.send(f"GET /version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert connection.answer().status == 200
        for target in ("/version", "/v3/kv/put", "/nope"):
            with Connection(server.endpoint) as connection:
                request = f"OPTIONS {target} HTTP/1.1\r\nHost: evil.example:2379\r\n\r\n"
                connection.send(request.encode())
                answer = connection.answer()
            assert answer.status == 421
            assert "access-control-allow-origin" not in answer.headers
            assert b"--host-whitelist 'evil.example'" in answer.body
            assert b"CVE-2018-5702" in answer.body


def test_the_description_is_served(server: Server) -> None:
    answer = get(server.endpoint, "/openapi.json")
    assert answer.json["openapi"].startswith("3.1")
    kept = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"
    assert answer.body == kept.read_bytes()

"""Other people's clients, and ours, against a server process with TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.harness.certificates import Authority
from tests.harness.server import ServerError
from tests.integration.tls.processes import (
    SecureServer,
    key_flags,
    put_and_get,
    run,
    secure,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.tls.conftest import Papers

CERTIFICATE_REQUIRED = "error reading server preface: remote error: tls: certificate required"
UNTRUSTED = "x509: certificate signed by unknown authority"


@pytest.fixture(scope="module")
def verifying(papers: Papers) -> Iterator[SecureServer]:
    """A server that wants certificates."""
    crl = papers.ca.revoke(papers.clients["revoked"].serial, file="process.crl")
    with secure(
        *key_flags(papers.server),
        f"--trusted-ca-file={papers.ca.file}",
        "--client-cert-auth",
        f"--client-crl-file={crl}",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def open_to_all(papers: Papers) -> Iterator[SecureServer]:
    """A server that asks for none."""
    with secure(*key_flags(papers.server)) as server:
        yield server


def test_grpcio(papers: Papers, verifying: SecureServer) -> None:
    assert put_and_get(verifying.endpoint, papers.ca, papers.alice) == b"b"
    for name in (None, "stranger", "expired", "not yet valid", "server only", "revoked"):
        pair = papers.clients[name] if name else None
        with pytest.raises(grpc.RpcError) as caught:
            put_and_get(verifying.endpoint, papers.ca, pair)
        assert caught.value.code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl(papers: Papers, verifying: SecureServer, version: str) -> None:
    command = ["openssl", "s_client", "-connect", verifying.endpoint, "-alpn", "h2", version]
    command += ["-CAfile", str(papers.ca.file), "-verify_return_error"]
    keys = ["-cert", str(papers.alice.cert), "-key", str(papers.alice.key)]
    shown = run(*command, *keys).stdout
    assert "ALPN protocol: h2" in shown
    assert "Verification: OK" in shown


def test_openssl_with_a_version_of_old(papers: Papers, verifying: SecureServer) -> None:
    done = run(
        *("openssl", "s_client", "-connect", verifying.endpoint, "-tls1_1"),
        *("-cipher", "ALL:@SECLEVEL=0"),
        check=False,
    )
    assert done.returncode != 0
    assert "alert protocol version" in done.stderr


@pytest.mark.parametrize("program", ["etcdctl", "pykvctl"])
def test_command_lines(papers: Papers, verifying: SecureServer, program: str) -> None:
    command = [program, f"--endpoints={verifying.url}", "--command-timeout=2s"]
    trusting = [*command, f"--cacert={papers.ca.file}"]
    keys = [f"--cert={papers.alice.cert}", f"--key={papers.alice.key}"]
    assert run(*trusting, *keys, "put", "k", program).stdout == "OK\n"
    assert run(*trusting, *keys, "get", "k").stdout == f"k\n{program}\n"
    assert run(*trusting, "get", "k", check=False).returncode == 1
    wrong = papers.clients["stranger"]
    stranger = [f"--cert={wrong.cert}", f"--key={wrong.key}"]
    assert run(*trusting, *stranger, "get", "k", check=False).returncode == 1
    revoked = papers.clients["revoked"]
    keys = [f"--cert={revoked.cert}", f"--key={revoked.key}"]
    assert run(*trusting, *keys, "get", "k", check=False).returncode == 1
    log = [str(line.get("error")) for line in verifying.log() if "rejected" in line["msg"]]
    assert "tls: client didn't provide a certificate" in log
    assert f"tls: failed to verify certificate: {UNTRUSTED}" in log
    assert f"transport: certificate serial {revoked.serial:x} revoked" in log


@pytest.mark.parametrize("program", ["etcdctl", "pykvctl"])
def test_command_lines_whose_server_asks_for_nothing(
    papers: Papers, open_to_all: SecureServer, program: str
) -> None:
    plain = [program, f"--endpoints={open_to_all.endpoint}", "--command-timeout=2s"]
    secured = [program, f"--endpoints={open_to_all.url}", "--command-timeout=2s"]
    ca = f"--cacert={papers.ca.file}"
    assert run(*secured, ca, "put", "k", "v").stdout == "OK\n"
    assert run(*plain, ca, "get", "k").stdout == "k\nv\n"
    skipping = ["--insecure-skip-tls-verify", "--insecure-transport=false"]
    assert run(*plain, *skipping, "get", "k").stdout == "k\nv\n"
    assert run(*plain, "get", "k", check=False).returncode == 1
    assert run(*secured, "get", "k", check=False).returncode == 1
    other = f"--cacert={papers.directory / 'other.pem'}"
    assert run(*secured, other, "get", "k", check=False).returncode == 1
    assert run(*secured, ca, "endpoint", "health").returncode == 0


def test_pykvctl_says_why(
    papers: Papers, verifying: SecureServer, open_to_all: SecureServer
) -> None:
    def error(server: SecureServer, *flags: str) -> str:
        command = ["pykvctl", f"--endpoints={server.url}", "--command-timeout=1s", *flags]
        return run(*command, "get", "k", check=False).stderr.replace("\\", "")

    assert CERTIFICATE_REQUIRED in error(verifying, f"--cacert={papers.ca.file}")
    assert UNTRUSTED in error(open_to_all, f"--cacert={papers.directory / 'other.pem'}")
    plain = ["pykvctl", f"--endpoints=http://{open_to_all.endpoint}", "--command-timeout=1s"]
    done = run(*plain, "get", "k", check=False)
    assert "error reading server preface" in done.stderr


def test_log_lines(papers: Papers, verifying: SecureServer) -> None:
    messages = [line["msg"] for line in verifying.log()]
    assert "starting with client TLS" in messages
    assert "serving client traffic securely" in messages
    assert str(papers.server.key.read_text().splitlines()[1]) not in verifying.log_text()


def test_certificates_made_by_the_server_survive_a_restart(tmp_path: Path) -> None:
    with secure("--auto-tls", "--self-signed-cert-validity=2") as server:
        made = server.data / "fixtures" / "client" / "cert.pem"
        ca = Authority(tmp_path, "unused")
        ca.file = made
        assert put_and_get(server.endpoint, ca) == b"b"
        before = made.read_bytes()
        assert server.stop() == 0
        server.start()
        assert put_and_get(server.endpoint, ca) == b"b"
        assert made.read_bytes() == before
        assert {path.stat().st_mode & 0o077 for path in (server.data, made.parent)} == {0}


def test_a_renewed_certificate_needs_no_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path), Authority(tmp_path, "new")
    pair = old.issue("server")
    with secure(*key_flags(pair)) as server:
        assert put_and_get(server.endpoint, old) == b"b"
        new.issue("next").copy_to(pair)
        assert put_and_get(server.endpoint, new) == b"b"
        with pytest.raises(grpc.RpcError):
            put_and_get(server.endpoint, old)


def test_plain_and_tls_beside_each_other(papers: Papers) -> None:
    with secure(*key_flags(papers.server)) as server:
        path = server.home / "plain.sock"
        server.stop()
        server.flags += (f"--listen-client-urls={server.url},unix://{path}",)
        server.start()
        assert put_and_get(server.endpoint, papers.ca) == b"b"
        assert run("pykvctl", f"--endpoints=unix://{path}", "get", "a").stdout == "a\nb\n"
        warning = "scheme is http or unix while key and cert files are present"
        assert any(warning in line["msg"] for line in server.log())


def test_tls_on_a_unix_socket(papers: Papers) -> None:
    with secure(*key_flags(papers.server)) as server:
        path = server.home / "s.sock"
        server.stop()
        server.flags += (f"--listen-client-urls=unixs://{path}",)
        server.start()
        flags = ["--insecure-skip-tls-verify", f"--cacert={papers.ca.file}"]
        command = ["etcdctl", f"--endpoints=unixs://{path}", "--command-timeout=5s", *flags]
        assert run(*command, "put", "a", "b").stdout == "OK\n"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "TLS key/cert (--cert-file, --key-file) must be provided for client url"),
        (["--cert-file=/no/c", "--key-file=/no/k"], "open /no/c: no such file or directory"),
        (
            ["--auto-tls", "--client-cert-file=/no/c", "--client-key-file=/no/k"],
            "open /no/c: no such file or directory",
        ),
        (["--auto-tls", "--self-signed-cert-validity=0"], "selfSignedCertValidity is invalid"),
        (["--auto-tls", "--cipher-suites=TLS_NO"], 'unexpected TLS cipher suite "TLS_NO"'),
    ],
)
def test_what_does_not_start(flags: list[str], text: str) -> None:
    with pytest.raises(ServerError) as caught, secure(*flags):
        pass
    assert text in str(caught.value).replace("\\", "")


def test_stopping_does_not_wait_for_half_open_handshakes(papers: Papers) -> None:
    with secure(*key_flags(papers.server)) as server:
        address = ("127.0.0.1", server.client_port)
        with socket.create_connection(address, 5), socket.create_connection(address, 5):
            begin = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begin < 8


def test_a_server_that_ends_connections_while_they_are_used(papers: Papers) -> None:
    """To write to such a connection is a failure of the call, never the process's end by SIGPIPE.

    What TLS is spoken to without verification goes through a socket of this process's own.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.server.cert, papers.server.key)
    context.set_alpn_protocols(["h2"])
    ended = threading.Event()

    def talk_nonsense(listener: socket.socket) -> None:
        while not ended.is_set():
            with suppress(OSError), context.wrap_socket(listener.accept()[0], True) as peer:
                while True:
                    peer.sendall(b"no HTTP/2 frame\n" * 64)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        talker = threading.Thread(target=talk_nonsense, args=(listener,), daemon=True)
        talker.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        flags = ["--insecure-skip-tls-verify", "--insecure-transport=false", "--command-timeout=1s"]
        done = run("pykvctl", f"--endpoints={address}", *flags, "get", "k", check=False)
        ended.set()
        with suppress(OSError):
            socket.create_connection(listener.getsockname()).close()
        talker.join()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")

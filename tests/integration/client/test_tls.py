"""TLS: trust, certificates of clients, and servers that speak something else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pykvd.client import TLS, Unavailable
from tests.harness import Server
from tests.harness.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.client import Client
    from tests.harness import Kind
    from tests.integration.client.blocked import Making


class SecureServer(Server):
    """Serves clients with TLS."""

    @property
    def url(self) -> str:
        return f"https://{self.endpoint}"


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="pykvd-test-") as home:
        yield Authority(Path(home))


@pytest.fixture(scope="module")
def secure(kind: Kind, authority: Authority) -> Iterator[SecureServer]:
    """Knows only clients with a certificate of the authority."""
    pair = authority.issue("server")
    flags = [
        f"--cert-file={pair.cert}",
        f"--key-file={pair.key}",
        f"--trusted-ca-file={authority.file}",
        "--client-cert-auth=true",
    ]
    with tempfile.TemporaryDirectory(prefix="pykvd-test-") as home:
        server = SecureServer(kind, Path(home), flags)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture
def tls(authority: Authority) -> TLS:
    pair = authority.issue("client")
    return TLS(ca=authority.file, cert=pair.cert, key=pair.key)


@pytest.fixture(params=["scheme", "no scheme"])
def trusted(make: Making, secure: SecureServer, tls: TLS, request: pytest.FixtureRequest) -> Client:
    endpoint = secure.url if request.param == "scheme" else secure.endpoint
    return make(endpoint, tls=tls)


def test_everything_works_over_tls(trusted: Client, name: str) -> None:
    with trusted.watch(name) as watch:
        trusted.put(name, b"x" * 1_000_000)
        assert len(watch.get(timeout=10).value) == 1_000_000
    found = trusted.get(name)
    assert found is not None
    assert len(found.value) == 1_000_000
    with trusted.lock(name):
        pass


@pytest.mark.parametrize("trust", ["nobody", "another", "no certificate"])
def test_no_trust_no_call(
    make: Making, secure: SecureServer, authority: Authority, tmp_path: Path, trust: str
) -> None:
    tls = TLS(ca=authority.file)
    if trust == "another":
        tls = TLS(ca=Authority(tmp_path).file)
    client = make(secure.url, tls=None if trust == "nobody" else tls)
    with pytest.raises(Unavailable) as refused:
        client.put("k", "v", timeout=1)
    assert not refused.value.maybe_applied


def test_names_are_checked(make: Making, secure: SecureServer, tls: TLS) -> None:
    wrong = TLS(ca=tls.ca, cert=tls.cert, key=tls.key, server_name="somebody.else")
    with pytest.raises(Unavailable):
        make(secure.url, tls=wrong).get("k", timeout=1)
    right = TLS(ca=tls.ca, cert=tls.cert, key=tls.key, server_name="localhost")
    make(secure.url, tls=right).get("k")


def test_verification_can_be_switched_off(make: Making, secure: SecureServer, tls: TLS) -> None:
    make(secure.url, tls=TLS(cert=tls.cert, key=tls.key, verify=False)).get("k")


def test_plain_text_to_a_tls_port_and_back(
    make: Making, secure: SecureServer, server: Server, tls: TLS
) -> None:
    for endpoint, settings in [(f"http://{secure.endpoint}", None), (server.endpoint, tls)]:
        with pytest.raises(Unavailable) as refused:
            make(endpoint, tls=settings).put("k", "v", timeout=1)
        assert not refused.value.maybe_applied


def test_files_that_are_not_there(tmp_path: Path, make: Making) -> None:
    with pytest.raises(ValueError, match="cert and key"):
        TLS(cert="cert.pem")
    for tls in (TLS(ca=tmp_path / "none.pem"), TLS(cert=tmp_path / "none.pem", key="none.pem")):
        with pytest.raises(ValueError, match=r"^tls: .*none.pem: .*No such file"):
            make("https://127.0.0.1:1", tls=tls)

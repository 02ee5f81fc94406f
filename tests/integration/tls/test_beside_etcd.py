"""The same certificates shown to etcd: it lets in whom we let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness import ETCD, PYKVD
from tests.integration.tls.listening import SERVED, client_context, visit
from tests.integration.tls.processes import key_flags, secure

if TYPE_CHECKING:
    from tests.harness import Kind
    from tests.integration.tls.conftest import Papers


def let_in(kind: Kind, papers: Papers, *flags: str) -> set[str]:
    """Whom a server serves, of all that there are."""
    pairs = papers.clients | {"nobody": None}
    with secure(*key_flags(papers.server), *flags, kind=kind) as server:
        return {
            name
            for name, pair in pairs.items()
            if visit(server.client_port, client_context(papers.ca.file, pair)) == SERVED
        }


@pytest.mark.etcd
def test_both_let_in_the_same(papers: Papers) -> None:
    if not ETCD.installed():
        pytest.skip("etcd is not installed")
    crl = papers.ca.revoke(papers.clients["revoked"].serial, der=True, file="both.crl")
    verifying = [f"--trusted-ca-file={papers.ca.file}", f"--client-crl-file={crl}"]
    for flags in (verifying, [*verifying, "--client-cert-auth"], []):
        ours = let_in(PYKVD, papers, *flags)
        assert ours == let_in(ETCD, papers, *flags)
        assert "alice" in ours
        assert ("stranger" in ours) == (not flags)

"""Certificates' names against hosts and addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.tls import TlsError
from pykvd.tls.addresses import names_to_look_up
from pykvd.tls.certificate import PeerCertificate

CERTIFICATE = PeerCertificate(
    "name", ("Node-1.example.com", "*.wild.example.com"), ("10.0.0.1", "2001:db8::1")
)


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        ("node-1.example.com", True),
        ("NODE-1.EXAMPLE.COM.", True),
        ("node-2.example.com", False),
        ("a.wild.example.com", True),
        ("wild.example.com", False),
        ("a.b.wild.example.com", False),
        (".wild.example.com", False),
        ("10.0.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("[2001:db8:0:0::1]", True),
        ("10.0.0.2", False),
        ("name", False),
        ("", False),
    ],
)
def test_hosts(host: str, valid: bool) -> None:
    assert CERTIFICATE.is_valid_for(host) is valid


@pytest.mark.parametrize("name", ["*", "*.", "*.*", "a*.example.com", "", "."])
def test_odd_patterns_match_nothing_that_they_should_not(name: str) -> None:
    certificate = PeerCertificate(dns_names=(name,))
    for host in ("example.com", "ab.example.com", "a.b", "", "."):
        assert not certificate.is_valid_for(host)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_only_valid_for_itself(name: str, host: str) -> None:
    if "*" not in name and PeerCertificate(dns_names=(name,)).is_valid_for(host):
        assert name.lower().removesuffix(".") == host.lower().removesuffix(".")


def test_addresses_that_need_no_look_up() -> None:
    assert names_to_look_up(CERTIFICATE, "10.0.0.1") == ()
    assert names_to_look_up(PeerCertificate("name"), "10.9.9.9") == ()


def test_addresses_that_only_dns_can_explain() -> None:
    assert names_to_look_up(CERTIFICATE, "10.9.9.9") == CERTIFICATE.dns_names


def test_addresses_that_nothing_can_explain() -> None:
    with pytest.raises(TlsError, match=r"valid for 10\.0\.0\.1, not 10\.9\.9\.9"):
        names_to_look_up(PeerCertificate(ip_addresses=("10.0.0.1",)), "10.9.9.9")

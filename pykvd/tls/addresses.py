"""Whether a peer dials from an address that its certificate names, as etcd's peer listener asks."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from pykvd.config.values import quote
from pykvd.tls.certificate import parse_address
from pykvd.tls.errors import TlsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykvd.tls.certificate import PeerCertificate


def names_to_look_up(certificate: PeerCertificate, address: str) -> tuple[str, ...]:
    """The DNS names of which one must lead to `address`; none when it is let in already.

    A certificate without names may come from anywhere. Raises TlsError when it has only IP
    addresses, and not this one.
    """
    if not certificate.dns_names and not certificate.ip_addresses:
        return ()
    if parse_address(address) in certificate.ip_addresses:
        return ()
    if certificate.dns_names:
        return certificate.dns_names
    valid = ", ".join(certificate.ip_addresses)
    raise TlsError(f"x509: certificate is valid for {valid}, not {address}")


async def check_names(names: Iterable[str], address: str) -> None:
    """Raise TlsError unless DNS leads from the address to a name, or from a name to the address.

    A wildcard is compared with the names of the address only: it leads nowhere by itself.
    """
    names = [name.lower().removesuffix(".") for name in names]
    if address and await _leads_back(names, address):
        return
    for name in names:
        if address and not name.startswith("*.") and address in await _addresses_of(name):
            return
    listed = " ".join(quote(name) for name in names)
    raise TlsError(f"tls: {quote(address)} does not match any of DNSNames [{listed}]")


async def _leads_back(names: list[str], address: str) -> bool:
    loop = asyncio.get_running_loop()
    try:
        found, aliases, _ = await loop.run_in_executor(None, socket.gethostbyaddr, address)
    except (OSError, UnicodeError):
        return False
    for name in (each.lower().removesuffix(".") for each in (found, *aliases)):
        if name in names:
            return True
        if any(each.startswith("*.") and name.endswith(each[1:]) for each in names):
            return True
    return False


async def _addresses_of(name: str) -> set[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {parse_address(str(each[4][0])) for each in found}

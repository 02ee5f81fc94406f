"""Hosts and ports of a service in a domain, from its SRV records (RFC 2782)."""

from __future__ import annotations

from typing import NamedTuple


class LookupFailed(Exception):  # noqa: N818 - Python has a LookupError of its own
    """No records; the text is that of Go's resolver."""


class Host(NamedTuple):
    """Where one server is; the name is absolute, without its final dot."""

    name: str
    port: int


def lookup(service: str, domain: str) -> list[Host]:
    """The servers of a service over TCP, the preferred and heavier ones first.

    Blocks for some seconds at worst. Raises LookupFailed.
    """
    # Seldom used, and slow to import.
    import dns.exception  # noqa: PLC0415
    import dns.name  # noqa: PLC0415
    import dns.rdatatype  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    name = f"_{service}._tcp.{domain}"
    try:
        answer = dns.resolver.resolve(name, dns.rdatatype.SRV)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise LookupFailed(f"lookup {name}: no such host") from None
    except (dns.exception.DNSException, UnicodeError) as error:
        reason = "i/o timeout" if isinstance(error, dns.exception.Timeout) else "no such host"
        if isinstance(error, dns.resolver.NoNameservers):
            reason = "server misbehaving"
        raise LookupFailed(f"lookup {name}: {reason}") from None
    # The root as a target says that there is decidedly no such service.
    records = [record for record in answer if record.target != dns.name.root]
    if not records:
        raise LookupFailed(f"lookup {name}: no such host")
    records.sort(key=lambda record: (record.priority, -record.weight))
    return [Host(record.target.to_text(omit_final_dot=True), record.port) for record in records]


def with_suffix(service: str, suffix: str) -> str:
    """The name of one of several services of a kind in a domain."""
    return f"{service}-{suffix}" if suffix else service

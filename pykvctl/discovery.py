"""Endpoints of a cluster from the SRV records of its domain (RFC 2782)."""

from pykvctl.errors import CommandError
from pykvctl.gotext.quoting import quote
from pykvctl.streams import Streams

SERVICES = (("etcd-client-ssl", "https"), ("etcd-client", "http"))


class _LookupError(Exception):
    """No records; the text is that of Go's resolver."""


def discover(domain: str, suffix: str, streams: Streams, *, insecure: bool) -> list[str]:
    """URLs of the endpoints, the encrypted ones first.

    `suffix` is appended to the name of the service. Unless `insecure`, plain text endpoints are
    left out, with a note on standard error. CommandError if there are no records of either kind.
    """
    urls: list[str] = []
    failures: list[str] = []
    for service, scheme in SERVICES:
        name = f"_{service}-{suffix}._tcp.{domain}" if suffix else f"_{service}._tcp.{domain}"
        try:
            urls += [f"{scheme}://{address}" for address in _addresses(name)]
        except _LookupError as error:
            failures.append(str(error))
    if len(failures) == len(SERVICES):
        raise CommandError(f"dns lookup errors: {' and '.join(failures)}")
    return urls if insecure else [url for url in urls if _is_secure(url, streams)]


def _is_secure(url: str, streams: Streams) -> bool:
    if url.startswith("https://"):
        return True
    streams.error_line(f"ignoring discovered insecure endpoint {quote(url)}")
    return False


def _addresses(name: str) -> list[str]:
    """`host:port` of each record; of equal priority the heavier one first."""
    # Seldom used, and slow to import.
    import dns.exception  # noqa: PLC0415
    import dns.rdatatype  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    try:
        answer = dns.resolver.resolve(name, dns.rdatatype.SRV)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise _LookupError(f"lookup {name}: no such host") from None
    except (dns.exception.DNSException, UnicodeError) as error:
        reason = "i/o timeout" if isinstance(error, dns.exception.Timeout) else "no such host"
        if isinstance(error, dns.resolver.NoNameservers):
            reason = "server misbehaving"
        raise _LookupError(f"lookup {name}: {reason}") from None
    records = sorted(answer, key=lambda record: (record.priority, -record.weight))
    return [f"{record.target.to_text(omit_final_dot=True)}:{record.port}" for record in records]

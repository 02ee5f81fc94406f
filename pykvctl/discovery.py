"""Endpoints of a cluster from the SRV records of its domain (RFC 2782)."""

from pykvctl.errors import CommandError
from pykvctl.gotext.quoting import quote
from pykvctl.streams import Streams
from pykvd.discovery.srv import LookupFailed, lookup, with_suffix

SERVICES = (("etcd-client-ssl", "https"), ("etcd-client", "http"))


def discover(domain: str, suffix: str, streams: Streams, *, insecure: bool) -> list[str]:
    """URLs of the endpoints, the encrypted ones first.

    `suffix` is appended to the name of the service. Unless `insecure`, plain text endpoints are
    left out, with a note on standard error. CommandError if there are no records of either kind.
    """
    urls: list[str] = []
    failures: list[str] = []
    for service, scheme in SERVICES:
        try:
            hosts = lookup(with_suffix(service, suffix), domain)
            urls += [f"{scheme}://{host.name}:{host.port}" for host in hosts]
        except LookupFailed as error:
            failures.append(str(error))
    if len(failures) == len(SERVICES):
        raise CommandError(f"dns lookup errors: {' and '.join(failures)}")
    return urls if insecure else [url for url in urls if _is_secure(url, streams)]


def _is_secure(url: str, streams: Streams) -> bool:
    if url.startswith("https://"):
        return True
    streams.error_line(f"ignoring discovered insecure endpoint {quote(url)}")
    return False

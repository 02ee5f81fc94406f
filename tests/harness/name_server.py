"""A name server on loopback that knows SRV records."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import Iterator

#: By absolute name: priority, weight, port, target.
Records = dict[str, list[tuple[int, int, int, str]]]


class NameServer(socketserver.UDPServer):
    """Answers SRV questions out of `records`, which may change; NXDOMAIN to all others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Question)
        self.records: Records = {}

    @property
    def port(self) -> int:
        """Where it is asked, by UDP."""
        return int(self.server_address[1])


class _Question(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        assert isinstance(self.server, NameServer)
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        name = query.question[0].name
        records = self.server.records.get(name.to_text())
        if records is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            texts = [" ".join(map(str, record)) for record in records]
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *texts))
        sock.sendto(answer.to_wire(), self.client_address)


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """One that runs."""
    with NameServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def asked_here() -> Iterator[Records]:
    """The records of a name server that this process asks meanwhile."""
    before = dns.resolver.default_resolver
    with name_server() as server:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = server.port
        dns.resolver.default_resolver = resolver
        try:
            yield server.records
        finally:
            dns.resolver.default_resolver = before

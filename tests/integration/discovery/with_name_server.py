"""The command `pykvd`, asking a name server on loopback alone: `PORT FLAGS...`."""

import sys

import dns.resolver

from pykvd.cli import main

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = ["127.0.0.1"]
resolver.port = int(sys.argv[1])
dns.resolver.default_resolver = resolver
sys.exit(main(sys.argv[2:]))

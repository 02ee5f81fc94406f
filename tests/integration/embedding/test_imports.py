"""What a server in a program does not load before it is used: each costs its start milliseconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Prefixes of modules, each with what would need it.
LATE = (
    "bcrypt",  # users
    "cryptography",  # TLS, certificates made here
    "grpc",  # pykvctl
    "h11",  # HTTP/1.1
    "email",
    "http",
    "jwt",  # tokens that are signed
    "opentelemetry",  # tracing
    "prometheus_client",  # /metrics
    "dns",  # discovery
    "yaml",  # configuration files
    "pykvd.api.contest",  # locks, elections
    "pykvd.api.health",
    "pykvd.api.reflection",
    "pykvd.config.commandline",
    "pykvd.config.file",
    "encodings.idna",  # host names
    "pykvd.metrics.calls",
    "pykvd.metrics.server",
    "pykvd.discovery",
    "pykvd.endpoints.servers",
    "pykvd.gateway",
    "pykvd.http",
    "pykvd.offline",
    "pykvd.pb.health_pb2",
    "pykvd.pb.reflection_pb2",
    "pykvd.pb.v3election_pb2",
    "pykvd.pb.v3lock_pb2",
    "pykvd.peer",  # other members
    "pykvd.restore",
    "pykvd.client.wire.blocking",  # servers elsewhere
    "pykvd.tls",
    "pykvd.tracing",
    "rich",
)
PROGRAM = """
import sys
import pykvd

with pykvd.serve({arguments}) as server, server.client() as client:
    client.put("k", "v")
    print(*sys.modules)
"""


def loaded(arguments: str) -> list[str]:
    """The modules of a program after its server's first Put."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(arguments=arguments)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return done.stdout.split()


def late(modules: list[str]) -> list[str]:
    """Those of them that should not be there yet."""
    return [name for name in modules for late in LATE if f"{name}.".startswith(f"{late}.")]


@pytest.mark.parametrize("arguments", ["", "port=None"])
def test_nothing_heavy_is_loaded_before_it_is_used(arguments: str) -> None:
    assert late(loaded(arguments)) == []


def test_without_a_port_there_is_no_endpoint_at_all() -> None:
    assert "pykvd.endpoints" in loaded("")
    assert "pykvd.endpoints" not in loaded("port=None")

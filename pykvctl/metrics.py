"""A member's /metrics, which tells what the gRPC API does not."""

import re
import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from pykvctl.endpoints import Endpoint
from pykvctl.options.global_flags import GlobalFlags

_SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{.*\})? (\S+)", re.MULTILINE)


def parse_metrics(text: str) -> dict[str, float]:
    """The sum of each metric over its labels, from the Prometheus text format."""
    sums: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        try:
            sums[name] = sums.get(name, 0.0) + float(value)
        except ValueError:
            continue
    return sums


def read_metrics(endpoint: Endpoint, flags: GlobalFlags, timeout_s: float) -> dict[str, float]:
    """Ask the client port for /metrics; empty if it has none to tell or cannot be asked."""
    try:
        connection = _connect(endpoint, flags, timeout_s)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace") if answer.status == 200 else ""
        finally:
            connection.close()
    except (OSError, ValueError, HTTPException):
        return {}
    return parse_metrics(text)


def _connect(endpoint: Endpoint, flags: GlobalFlags, timeout_s: float) -> HTTPConnection:
    if endpoint.target.startswith("unix:"):
        path = endpoint.target.removeprefix("unix:")
        plain = HTTPConnection("localhost", timeout=timeout_s)
        plain.sock = socket.socket(socket.AF_UNIX)
        plain.sock.settimeout(timeout_s)
        plain.sock.connect(path)
        return plain
    files = bool(flags.cacert or flags.cert)
    tls = endpoint.tls if endpoint.tls is not None else files or not flags.insecure_transport
    if not tls:
        return HTTPConnection(endpoint.target, timeout=timeout_s)
    context = ssl.create_default_context(cafile=flags.cacert or None)
    if flags.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if flags.cert:
        context.load_cert_chain(flags.cert, flags.key)
    return HTTPSConnection(endpoint.target, timeout=timeout_s, context=context)

"""What gRPC says about a failed call, in the words of etcd's client."""

import re

import grpc

from pykvctl.endpoints import Endpoint
from pykvctl.errors import RequestError

# Beginnings of the descriptions of calls that never left this process.
_NEVER_SENT = (
    "failed to connect to all addresses",
    "errors resolving ",
    "DNS resolution failed",
    "empty address list",
)
_NOT_FOUND = re.compile(r"Domain name not found|NODATA|[Nn]ame or service not known|DNS")
_TLS = re.compile(r"[Hh]andshak|SSL|TLS|CERTIFICATE|peer name", re.ASCII)
_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED")
_PLACE = re.compile(r"^[A-Z_]+: (?:ipv[46]|unix):\S+: ")


def _call(error: grpc.RpcError) -> grpc.Call:
    assert isinstance(error, grpc.Call)
    return error


def never_sent(error: grpc.RpcError) -> bool:
    """Whether the failed call cannot have reached any server, so that repeating it is safe."""
    details = _call(error).details() or ""
    return details.startswith(_NEVER_SENT)


def describe(error: grpc.RpcError, endpoint: Endpoint) -> RequestError:
    """The failure with code and description as etcd's client would word it."""
    call = _call(error)
    name = "".join(part.title() for part in call.code().name.split("_"))
    name = {"Cancelled": "Canceled", "Ok": "OK"}.get(name, name)
    details = call.details() or ""
    if name == "DeadlineExceeded" and not details.startswith("etcdserver: "):
        return RequestError(name, "context deadline exceeded")
    if never_sent(error):
        details = f'connection error: desc = "{_dial_text(details, endpoint)}"'
    return RequestError(name, details)


def _dial_text(details: str, endpoint: Endpoint) -> str:
    network = "unix" if endpoint.target.startswith("unix:") else "tcp"
    where = f"transport: Error while dialing: dial {network} {endpoint.address}"
    if "Connection refused" in details:
        return f"{where}: connect: connection refused"
    if "No such file or directory" in details:
        return f"{where}: connect: no such file or directory"
    if network == "tcp" and ":" not in endpoint.address:
        where = "transport: Error while dialing: dial tcp"
        return f"{where}: address {endpoint.address}: missing port in address"
    if details.startswith("errors resolving ") or _NOT_FOUND.search(details):
        host = endpoint.address.rpartition(":")[0]
        return f"transport: Error while dialing: dial {network}: lookup {host}: no such host"
    if _UNTRUSTED.search(details):
        reason = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        return f"transport: authentication handshake failed: {reason}"
    if "TSI_DATA_CORRUPTED" in details:
        # An alert after the handshake: with TLS 1.3 that is how a server asks for a certificate.
        return "error reading server preface: remote error: tls: certificate required"
    reason = _PLACE.sub("", details.rpartition("last error: ")[2])
    if _TLS.search(details):
        if "onnection reset" in details or "ocket closed" in details:
            reason = "EOF"
        return f"transport: authentication handshake failed: {reason}"
    if "onnection reset" in details or "ocket closed" in details:
        return "error reading server preface: EOF"
    return f"transport: {reason}"

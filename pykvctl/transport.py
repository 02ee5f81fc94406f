"""gRPC channels to endpoints: plain text or TLS, sizes, keepalive."""

import socket
import ssl
from typing import NamedTuple

import grpc

from pykvctl.endpoints import Endpoint
from pykvctl.errors import BadArgumentsError
from pykvctl.gotext.durations import MILLISECOND, SECOND
from pykvctl.options.global_flags import GlobalFlags

SEND_LIMIT_BYTES = 2 * 1024 * 1024
RECEIVE_LIMIT_BYTES = (1 << 31) - 1

# Servers close connections that are probed more often than every five seconds, and etcd's own
# client never probes more often than this, whatever its flag says.
KEEPALIVE_TIME_MIN = 10 * SECOND


class TlsFiles(NamedTuple):
    """Contents of the TLS files of the command line; None where no file was named."""

    ca: bytes | None = None
    key: bytes | None = None
    cert: bytes | None = None

    @property
    def given(self) -> bool:
        """Whether any file was named."""
        return any(item is not None for item in (self.ca, self.key, self.cert))


def read_tls_files(flags: GlobalFlags) -> TlsFiles:
    """Read the files that the flags name; BadArgumentsError as etcdctl words it."""
    if bool(flags.cert) != bool(flags.key):
        raise BadArgumentsError(
            f"KeyFile and CertFile must both be present[key: {flags.key}, cert: {flags.cert}]"
        )
    files = TlsFiles(_read(flags.cacert), _read(flags.key), _read(flags.cert))
    _check(flags, files)
    return files


def _check(flags: GlobalFlags, files: TlsFiles) -> None:
    """Refuse files that hold something else; gRPC would only fail to connect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files.ca is not None:
        try:
            context.load_verify_locations(cafile=flags.cacert)
        except ssl.SSLError:
            raise BadArgumentsError("x509: malformed tbs certificate") from None
    if files.cert is not None:
        try:
            context.load_cert_chain(flags.cert, flags.key)
        except ssl.SSLError as error:
            mismatch = error.reason == "KEY_VALUES_MISMATCH"
            raise BadArgumentsError(
                "tls: private key does not match public key"
                if mismatch
                else "tls: failed to find any PEM data in certificate input"
            ) from None


def _read(path: str) -> bytes | None:
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BadArgumentsError(f"open {path}: {reason}") from None


def uses_tls(endpoint: Endpoint, flags: GlobalFlags, files: TlsFiles) -> bool:
    """The scheme decides; where it does not, any flag that makes sense with TLS only does."""
    if endpoint.tls is not None:
        return endpoint.tls
    return files.given or flags.insecure_skip_tls_verify or not flags.insecure_transport


def open_channel(endpoint: Endpoint, flags: GlobalFlags, files: TlsFiles) -> grpc.Channel:
    """A channel to one endpoint; nothing is dialled until the first call."""
    options: list[tuple[str, int | str]] = [
        ("grpc.enable_http_proxy", 0),
        # Sizes sent are checked by the client, which words the refusal.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", flags.max_recv_bytes or RECEIVE_LIMIT_BYTES),
        ("grpc.keepalive_time_ms", max(flags.keepalive_time, KEEPALIVE_TIME_MIN) // MILLISECOND),
        ("grpc.keepalive_timeout_ms", flags.keepalive_timeout // MILLISECOND),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.min_reconnect_backoff_ms", max(flags.dial_timeout // MILLISECOND, 1)),
    ]
    if not uses_tls(endpoint, flags, files):
        return grpc.insecure_channel(endpoint.target, options)
    root = files.ca
    if flags.discovery_srv and not flags.insecure_discovery:
        options.append(("grpc.ssl_target_name_override", flags.discovery_srv))
    if flags.insecure_skip_tls_verify:
        root, name = _trust_what_is_shown(endpoint, flags.dial_timeout / SECOND)
        if name:
            options.append(("grpc.ssl_target_name_override", name))
    credentials = grpc.ssl_channel_credentials(root, files.key, files.cert)
    return grpc.secure_channel(endpoint.target, credentials, options)


def _trust_what_is_shown(endpoint: Endpoint, timeout_s: float) -> tuple[bytes | None, str]:
    """The server's certificate (PEM) and a name it carries.

    gRPC for Python cannot skip verification, so the certificate that the server shows is made the
    trusted one. Returns (None, "") if the server cannot be asked; the call then says why.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    shown = _peer_certificate(endpoint, context, timeout_s)
    if shown is None:
        return None, ""
    pem = ssl.DER_cert_to_PEM_cert(shown[0])
    # Python parses only certificates it has verified, hence the second connection.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    verified = _peer_certificate(endpoint, context, timeout_s)
    return pem.encode(), verified[1] if verified else ""


def _peer_certificate(
    endpoint: Endpoint, context: ssl.SSLContext, timeout_s: float
) -> tuple[bytes, str] | None:
    """The peer's certificate (DER) and, if it was verified, its first alternative name."""
    context.set_alpn_protocols(["h2"])
    try:
        with _connect(endpoint, timeout_s) as raw, context.wrap_socket(raw) as secure:
            der = secure.getpeercert(binary_form=True)
            details = secure.getpeercert() or {}
    except (OSError, ValueError):
        return None
    names: object = details.get("subjectAltName", ())
    first = next((str(value) for _, value in names), "") if isinstance(names, tuple) else ""
    return (der, first) if der else None


def _connect(endpoint: Endpoint, timeout_s: float) -> socket.socket:
    if endpoint.target.startswith("unix:"):
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(timeout_s)
        raw.connect(endpoint.target.removeprefix("unix:"))
        return raw
    host, _, port = endpoint.target.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout_s)

"""gRPC channels to endpoints: plain text or TLS, sizes, keepalive."""

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


def open_channel(
    endpoint: Endpoint, flags: GlobalFlags, files: TlsFiles, tunnel: str = ""
) -> grpc.Channel:
    """A channel to one endpoint; nothing is dialled until the first call.

    `tunnel` is what to dial instead, where somebody else speaks TLS.
    """
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
    if tunnel or not uses_tls(endpoint, flags, files):
        return grpc.insecure_channel(tunnel or endpoint.target, options)
    if flags.discovery_srv and not flags.insecure_discovery:
        options.append(("grpc.ssl_target_name_override", flags.discovery_srv))
    credentials = grpc.ssl_channel_credentials(files.ca, files.key, files.cert)
    return grpc.secure_channel(endpoint.target, credentials, options)

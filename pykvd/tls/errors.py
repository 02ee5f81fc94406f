"""What goes wrong with TLS, in the words that etcd's logs use for it."""

from __future__ import annotations

import ssl

_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls: client didn't provide a certificate",
    "HTTP_REQUEST": "tls: first record does not look like a TLS handshake",
    "WRONG_VERSION_NUMBER": "tls: first record does not look like a TLS handshake",
    "UNSUPPORTED_PROTOCOL": "tls: no supported versions",
    "NO_SHARED_CIPHER": "tls: no cipher suite supported by both client and server",
    "UNEXPECTED_EOF_WHILE_READING": "EOF",
    "SSLV3_ALERT_BAD_CERTIFICATE": "remote error: tls: bad certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "remote error: tls: expired certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "remote error: tls: revoked certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "remote error: tls: unknown certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "remote error: tls: handshake failure",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "remote error: tls: unsupported certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "remote error: tls: unknown certificate authority",
    "TLSV1_ALERT_PROTOCOL_VERSION": "remote error: tls: protocol version not supported",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "remote error: tls: certificate required",
}
#: The alerts that say with a number only what the names above say (OpenSSL before 3.2).
_ALERTS = {
    "TLSV1_ALERT_CERTIFICATE_REQUIRED": _REASONS["TLSV13_ALERT_CERTIFICATE_REQUIRED"],
}
_UNTRUSTED = "x509: certificate signed by unknown authority"
#: OpenSSL's numbers of why a certificate is not accepted (X509_V_ERR_...).
_VERIFICATION = {
    2: _UNTRUSTED,
    9: "x509: certificate has expired or is not yet valid",
    10: "x509: certificate has expired or is not yet valid",
    18: _UNTRUSTED,
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    26: "x509: certificate specifies an incompatible key usage",
}


class TlsError(OSError):
    """TLS failed: a file cannot be used, or the other end is not let in.

    An OSError, as `ssl.SSLError` is: who handles connections that fail handles this as well.
    """


def reason(error: BaseException) -> str:
    """Why a handshake or a connection failed, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = _VERIFICATION.get(error.verify_code) or f"x509: {error.verify_message}"
        return f"tls: failed to verify certificate: {text}"
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        return _REASONS.get(name) or _ALERTS.get(name) or f"tls: {error.reason or error.strerror}"
    return str(error) or type(error).__name__

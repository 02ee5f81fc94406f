"""Options of transport security and of authentication."""

from __future__ import annotations

from pykvd.config.options import (
    BOOL,
    LIST,
    LIST_SET,
    ORIGINS,
    PATH,
    TEXT,
    TEXT_SET,
    UINT,
    Options,
    option,
)

_CLIENT = "client-transport-security."
_PEER = "peer-transport-security."


class ClientSecurityOptions(Options):
    """TLS of the client listeners, and who may come through plain HTTP."""

    cert_file: str = option(
        "", PATH, "Server certificate for client traffic.", file=_CLIENT + "cert-file"
    )
    key_file: str = option("", PATH, "Key of --cert-file.", file=_CLIENT + "key-file")
    client_cert_file: str = option(
        "",
        PATH,
        "Certificate that the server shows when it is its own client.",
        file=_CLIENT + "client-cert-file",
    )
    client_key_file: str = option(
        "", PATH, "Key of --client-cert-file.", file=_CLIENT + "client-key-file"
    )
    client_cert_auth: bool = option(
        False, BOOL, "Require and verify client certificates.", file=_CLIENT + "client-cert-auth"
    )
    trusted_ca_file: str = option(
        "", PATH, "CA bundle for client certificates.", file=_CLIENT + "trusted-ca-file"
    )
    client_crl_file: str = option("", PATH, "Revoked client certificates.", file="")
    client_cert_allowed_hostname: tuple[str, ...] = option(
        (),
        LIST_SET,
        "Host names accepted in client certificates.",
        file=_CLIENT + "allowed-hostname",
    )
    auto_tls: bool = option(
        False, BOOL, "Make a self-signed certificate for clients.", file=_CLIENT + "auto-tls"
    )
    self_signed_cert_validity: int = option(1, UINT, "Years that certificates made here are valid.")
    cipher_suites: tuple[str, ...] = option((), LIST, "Cipher suites of TLS 1.2, by Go's names.")
    tls_min_version: str = option("TLS1.2", TEXT, "Lowest TLS version: TLS1.2 or TLS1.3.")
    tls_max_version: str = option("", TEXT, "Highest TLS version; empty means the newest known.")
    cors: tuple[str, ...] = option(("*",), ORIGINS, "Origins allowed by CORS.")
    host_whitelist: tuple[str, ...] = option(
        ("*",), TEXT_SET, "Host names accepted in plain HTTP requests."
    )


class PeerSecurityOptions(Options):
    """TLS between members."""

    peer_cert_file: str = option(
        "", PATH, "Certificate for peer traffic.", file=_PEER + "cert-file"
    )
    peer_key_file: str = option("", PATH, "Key of --peer-cert-file.", file=_PEER + "key-file")
    peer_client_cert_file: str = option(
        "", PATH, "Certificate shown to other members.", file=_PEER + "client-cert-file"
    )
    peer_client_key_file: str = option(
        "", PATH, "Key of --peer-client-cert-file.", file=_PEER + "client-key-file"
    )
    peer_client_cert_auth: bool = option(
        False, BOOL, "Require and verify peer certificates.", file=_PEER + "client-cert-auth"
    )
    peer_trusted_ca_file: str = option(
        "", PATH, "CA bundle for peer certificates.", file=_PEER + "trusted-ca-file"
    )
    peer_crl_file: str = option("", PATH, "Revoked peer certificates.", file="")
    peer_cert_allowed_cn: tuple[str, ...] = option(
        (), LIST_SET, "Common names accepted in peer certificates.", file=_PEER + "allowed-cn"
    )
    peer_cert_allowed_hostname: tuple[str, ...] = option(
        (), LIST_SET, "Host names accepted in peer certificates.", file=_PEER + "allowed-hostname"
    )
    peer_auto_tls: bool = option(
        False, BOOL, "Make a self-signed certificate for peers.", file=_PEER + "auto-tls"
    )
    peer_skip_client_san_verification: bool = option(
        False,
        BOOL,
        "Do not check the host name in peer client certificates.",
        file=_PEER + "skip-client-san-verification",
        was="experimental-peer-skip-client-san-verification",
    )


class AuthOptions(Options):
    """Users' passwords and tokens."""

    auth_token: str = option(
        "simple",
        TEXT,
        "Kind of token: simple, or jwt,pub-key=..,priv-key=..,sign-method=..,ttl=..",
    )
    auth_token_ttl: int = option(300, UINT, "Seconds that a simple token lives.")
    bcrypt_cost: int = option(10, UINT, "Cost of a password's hash, 4 to 31.")

"""TLS as a server's options ask for it: files given, or made here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pykvd.logs import get_logger
from pykvd.tls.endpoints import TlsClient, TlsServer
from pykvd.tls.errors import TlsError
from pykvd.tls.settings import TlsSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykvd.config import Config
    from pykvd.config.urls import URL

_log = get_logger("tls")


class MemberTls(NamedTuple):
    """TLS of one member: its two kinds of listeners, None without a certificate, and its dialling.

    The listeners for clients include those for HTTP and for metrics.
    """

    clients: TlsServer | None
    peers: TlsServer | None
    dialler: TlsClient


def member_tls(config: Config) -> MemberTls:
    """What the options ask for.

    Raises TlsError: a file cannot be used, none can be made, or a URL needs one that is not given.
    """
    peers = _peer_settings(config)
    return MemberTls(
        peers=_peer_server(config, peers), clients=_client_server(config), dialler=TlsClient(peers)
    )


def _client_server(config: Config) -> TlsServer | None:
    settings = TlsSettings(
        cert_file=config.cert_file,
        key_file=config.key_file,
        client_cert_file=config.client_cert_file,
        client_key_file=config.client_key_file,
        trusted_ca_file=config.trusted_ca_file,
        client_cert_auth=config.client_cert_auth,
        crl_file=config.client_crl_file,
        allowed_hostnames=config.client_cert_allowed_hostname,
        cipher_suites=config.cipher_suites,
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
    )
    urls = config.listen_client_urls + config.listen_client_http_urls
    if config.auto_tls:
        settings = _with_own_certificate(settings, config, "client", urls)
    _warn_of_plain("client", settings, urls)
    _check_urls(settings, urls, config.listen_metrics_urls)
    if settings.client_cert_file:
        # The JSON gateway needs no connection to ourselves; but wrong files are told, as by etcd.
        TlsClient(settings)
    return _server(settings, "client")


def _peer_settings(config: Config) -> TlsSettings:
    settings = TlsSettings(
        cert_file=config.peer_cert_file,
        key_file=config.peer_key_file,
        client_cert_file=config.peer_client_cert_file,
        client_key_file=config.peer_client_key_file,
        trusted_ca_file=config.peer_trusted_ca_file,
        client_cert_auth=config.peer_client_cert_auth,
        crl_file=config.peer_crl_file,
        allowed_cns=config.peer_cert_allowed_cn,
        allowed_hostnames=config.peer_cert_allowed_hostname,
        # Anybody's certificate from a public authority would do for the hosts that DNS names.
        server_name="" if config.peer_trusted_ca_file else config.discovery_srv.rstrip("."),
        check_client_address=not config.peer_skip_client_san_verification,
        cipher_suites=config.cipher_suites,
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
    )
    if config.peer_auto_tls:
        settings = _with_own_certificate(settings, config, "peer", config.listen_peer_urls)
    return settings


def _peer_server(config: Config, settings: TlsSettings) -> TlsServer | None:
    _warn_of_plain("peer", settings, config.listen_peer_urls)
    for url in config.listen_peer_urls:
        if url.is_secure and not settings.cert_file:
            raise TlsError(
                f"cannot listen on TLS for {url.authority}: KeyFile and CertFile are not presented"
            )
    return _server(settings, "peer")


def _server(settings: TlsSettings, kind: str) -> TlsServer | None:
    if not settings.cert_file:
        return None
    server = TlsServer(settings, kind)
    if not settings.verifies_clients and (
        settings.allowed_cns or settings.allowed_hostnames or settings.crl_file
    ):
        _log.warn(f"{kind} listeners ask nobody for a certificate; rules about them do not apply")
    _log.info(
        f"starting with {kind} TLS",
        tls_info=_describe(settings),
        cipher_suites=settings.cipher_suites,
    )
    return server


def _describe(settings: TlsSettings) -> str:
    return (
        f"cert = {settings.cert_file}, key = {settings.key_file}, "
        f"client-cert={settings.client_cert_file}, client-key={settings.client_key_file}, "
        f"trusted-ca = {settings.trusted_ca_file}, "
        f"client-cert-auth = {str(settings.client_cert_auth).lower()}, "
        f"crl-file = {settings.crl_file}"
    )


def _with_own_certificate(
    settings: TlsSettings, config: Config, side: str, urls: Iterable[URL]
) -> TlsSettings:
    """With a certificate made here, unless there is one."""
    if settings.cert_file:
        _log.warn(f"ignoring {side} auto TLS since certs given")
        return settings
    directory = Path(config.data_dir) / "fixtures" / side
    from pykvd.tls.self_signed import self_signed  # noqa: PLC0415 - few ask for it

    pair = self_signed(directory, [url.host for url in urls], config.self_signed_cert_validity)
    return settings._replace(cert_file=pair.certificate, key_file=pair.key, self_signed=True)


def _warn_of_plain(side: str, settings: TlsSettings, urls: Iterable[URL]) -> None:
    """Say where options of TLS do nothing, in etcd's words."""
    scheme = "HTTP" if side == "peer" else "http or unix"
    flag = "--peer-client-cert-auth" if side == "peer" else "--client-cert-auth"
    for url in urls:
        field = {f"{side}_url": url}
        if settings.cert_file and not url.is_secure:
            _log.warn(
                f"scheme is {scheme} while key and cert files are present; "
                "ignoring key and cert files",
                **field,
            )
        if settings.client_cert_auth and not url.is_secure:
            _log.warn(
                f"scheme is {scheme} while {flag} is enabled; "
                "ignoring client cert auth for this URL",
                **field,
            )


def _check_urls(settings: TlsSettings, urls: Iterable[URL], metrics: Iterable[URL]) -> None:
    if settings.cert_file:
        return
    for url in urls:
        if url.is_secure:
            raise TlsError(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url "
                f"{url} with HTTPS scheme"
            )
    if any(url.is_secure for url in metrics):
        raise TlsError(
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
        )

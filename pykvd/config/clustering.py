"""Options about the other members: the first start, elections and discovery."""

from __future__ import annotations

from pykvd.config.member import DEFAULT_CLIENT_URLS, DEFAULT_NAME, DEFAULT_PEER_URLS
from pykvd.config.options import (
    BOOL,
    DURATION,
    INT,
    LIST,
    PATH,
    TEXT,
    URLS,
    Options,
    choice,
    option,
)
from pykvd.config.urls import URL, format_urls

DEFAULT_INITIAL_CLUSTER = f"{DEFAULT_NAME}={format_urls(DEFAULT_PEER_URLS)}"

_CLIENT = "discovery-config.client."


class ClusterOptions(Options):
    """What the cluster looks like when it is formed, and how it elects and changes."""

    initial_advertise_peer_urls: tuple[URL, ...] = option(
        DEFAULT_PEER_URLS, URLS, "Peer addresses of this member that others are told."
    )
    advertise_client_urls: tuple[URL, ...] = option(
        DEFAULT_CLIENT_URLS,
        URLS,
        "Client addresses of this member that clients are told. "
        "Must be given together with --listen-client-urls.",
    )
    initial_cluster: str = option(
        DEFAULT_INITIAL_CLUSTER,
        TEXT,
        "Members of a new cluster as name=peer-url,name=peer-url.",
    )
    initial_cluster_state: str = option(
        "new", choice("new", "existing"), "Form a new cluster, or join one that runs."
    )
    initial_cluster_token: str = option(
        "etcd-cluster", TEXT, "Keeps clusters apart that are formed from the same addresses."
    )
    strict_reconfig_check: bool = option(
        True, BOOL, "Refuse changes of membership that would lose the quorum."
    )
    pre_vote: bool = option(True, BOOL, "Ask before standing for election.")
    max_learners: int = option(1, INT, "Learners that the cluster may have at one time.")
    force_new_cluster: bool = option(
        False, BOOL, "Restart as a cluster of one out of the local data. For one start only."
    )


class DiscoveryOptions(Options):
    """Finding the other members through a service instead of --initial-cluster."""

    discovery: str = option(
        "", TEXT, "URL of a v2 discovery token; refused, see --discovery-token."
    )
    discovery_fallback: str = option(
        "exit", choice("exit", "proxy"), "What to do when the discovered cluster is full."
    )
    discovery_proxy: str = option("", TEXT, "HTTP proxy on the way to v2 discovery.")
    discovery_srv: str = option("", TEXT, "DNS domain whose SRV records name the members.")
    discovery_srv_name: str = option("", TEXT, "Suffix of the names of those SRV services.")
    discovery_token: str = option("", TEXT, "Token of v3 discovery.", file="discovery-config.token")
    discovery_endpoints: tuple[str, ...] = option(
        (), LIST, "Addresses of the v3 discovery service.", file=_CLIENT + "endpoints"
    )
    discovery_dial_timeout: float = option(
        2.0, DURATION, "Time to connect to v3 discovery.", file=_CLIENT + "dial-timeout"
    )
    discovery_request_timeout: float = option(
        5.0, DURATION, "Time for one request to v3 discovery.", file=_CLIENT + "request-timeout"
    )
    discovery_keepalive_time: float = option(
        2.0, DURATION, "Time between pings to v3 discovery.", file=_CLIENT + "keepalive-time"
    )
    discovery_keepalive_timeout: float = option(
        6.0, DURATION, "Time for the answer to such a ping.", file=_CLIENT + "keepalive-timeout"
    )
    discovery_insecure_transport: bool = option(
        True, BOOL, "Talk to v3 discovery without TLS.", file=_CLIENT + "secure.insecure-transport"
    )
    discovery_insecure_skip_tls_verify: bool = option(
        False,
        BOOL,
        "Do not verify the certificate of v3 discovery.",
        file=_CLIENT + "secure.insecure-skip-tls-verify",
    )
    discovery_cert: str = option(
        "", PATH, "Client certificate for v3 discovery.", file=_CLIENT + "secure.cert"
    )
    discovery_key: str = option("", PATH, "Key of that certificate.", file=_CLIENT + "secure.key")
    discovery_cacert: str = option(
        "", PATH, "CA bundle for v3 discovery.", file=_CLIENT + "secure.cacert"
    )
    discovery_user: str = option(
        "", TEXT, "User name at v3 discovery.", file=_CLIENT + "auth.username"
    )
    discovery_password: str = option(
        "", TEXT, "Password at v3 discovery.", file=_CLIENT + "auth.password"
    )

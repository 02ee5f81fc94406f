"""Checks of a whole configuration."""

import pytest

from pykvd.config import Config, ConfigError

CLIENT = "--advertise-client-urls=http://a:1"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (
            ["--election-timeout=400"],
            (
                "--election-timeout[400ms] should be at least as 5 times as "
                "--heartbeat-interval[100ms]"
            ),
        ),
        (
            ["--election-timeout=60000"],
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        (["--auto-compaction-mode=x"], 'unknown auto-compaction-mode "x"'),
        (["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (
            ["--auto-compaction-retention=xyz"],
            'error parsing CompactionRetention: time: invalid duration "xyz"',
        ),
        (
            ["--auto-compaction-retention=5x"],
            'error parsing CompactionRetention: time: unknown unit "x" in duration "5x"',
        ),
        (
            ["--auto-compaction-retention=-1"],
            'error parsing CompactionRetention: time: missing unit in duration "-1"',
        ),
        (["--logger=x"], 'unknown logger option "x"'),
        (["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
        (["--log-level=x"], 'unrecognized level: "x"'),
        (["--log-format=x"], "unknown log format: x, supported values json, console"),
        (
            ["--log-outputs=default,stdout"],
            'multi logoutput for "default" is not supported yet',
        ),
        (
            ["--enable-log-rotation", "--log-outputs=stderr,/x"],
            "--log-outputs requires a single file path when --log-rotate-config-json is defined",
        ),
        (
            ["--listen-peer-urls=http://a.b:1"],
            "expected IP in URL for binding (http://a.b:1)",
        ),
        (
            ["--initial-advertise-peer-urls=http://:1"],
            (
                '--initial-advertise-peer-urls "http://:1" must be "host:port" '
                "(unexpected empty host (http://:1))"
            ),
        ),
        (
            ["--advertise-client-urls=http://:1"],
            (
                '--advertise-client-urls "http://:1" must be "host:port" '
                "(unexpected empty host (http://:1))"
            ),
        ),
        (
            [
                "--listen-client-urls=http://127.0.0.1:1",
                "--listen-client-http-urls=http://127.0.0.1:1",
                CLIENT,
            ],
            (
                "cannot bind both --listen-client-urls and --listen-client-http-urls on the same "
                "url http://127.0.0.1:1"
            ),
        ),
        (
            [
                "--listen-client-urls=http://127.0.0.1:1",
                "--listen-client-http-urls=https://127.0.0.1:1",
                CLIENT,
            ],
            (
                "cannot bind both --listen-client-urls and --listen-client-http-urls on the same "
                "url https://127.0.0.1:1"
            ),
        ),
        (
            ["--initial-cluster=a=http://a:1", "--discovery=http://d/x"],
            (
                "multiple discovery or bootstrap flags are set. Choose one of "
                '"initial-cluster", "discovery", "discovery-endpoints" or "discovery-srv"'
            ),
        ),
        (
            ["--discovery-fallback=proxy"],
            'v2 proxy is deprecated, and --discovery-fallback can\'t be configured as "proxy"',
        ),
        (
            ["--discovery-token=x"],
            "both --discovery-token and --discovery-endpoints must be set",
        ),
        (
            ["--discovery-token=x", "--discovery-endpoints=a,"],
            "--discovery-endpoints must not contain empty endpoints",
        ),
        (
            ["--discovery-token=x", "--discovery-endpoints= "],
            "--discovery-endpoints must not contain empty endpoints",
        ),
        (
            ["--discovery-proxy=http://p:1", "--discovery-user=u"],
            (
                "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery "
                "settings (discovery-token, discovery-endpoints, discovery-cert, discovery-key, "
                "discovery-cacert, discovery-user, discovery-password) are set"
            ),
        ),
        (
            ["--discovery-srv=d", "--discovery-token=x", "--discovery-endpoints=a"],
            (
                "multiple discovery or bootstrap flags are set. Choose one of "
                '"initial-cluster", "discovery", "discovery-endpoints" or "discovery-srv"'
            ),
        ),
        (["--compact-hash-check-time=0"], "--compact-hash-check-time must be >0 (set to 0s)"),
        (
            ["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=-1"],
            (
                "distributed tracing configurition is not valid: "
                "(tracing sampling rate must be positive)"
            ),
        ),
        (
            ["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=1000001"],
            (
                "distributed tracing configurition is not valid: "
                "(tracing sampling rate must be less than 1000000)"
            ),
        ),
        (
            ["--feature-gates=LeaseCheckpointPersist=true"],
            (
                "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
                "LeaseCheckpoint"
            ),
        ),
        (
            ["--tls-min-version=TLS1.1"],
            'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)',
        ),
        (
            ["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            ["--tls-min-version=TLS1.3", "--cipher-suites=X"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (["--cert-file=c"], "KeyFile and CertFile must both be present[key: , cert: c]"),
        (["--peer-key-file=k"], "KeyFile and CertFile must both be present[key: k, cert: ]"),
        (
            ["--peer-client-cert-file=c"],
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: c]",
        ),
        (
            ["--peer-cert-allowed-cn=b,a", "--peer-cert-allowed-hostname=h"],
            (
                "AllowedCNs and AllowedHostnames are mutually exclusive "
                '(cns=["a" "b"], hostnames=["h"])'
            ),
        ),
        (
            ["--initial-cluster=default=127.0.0.1:2380"],
            (
                'error setting up initial cluster: parse "127.0.0.1:2380": '
                "first path segment in URL cannot contain colon"
            ),
        ),
    ],
)
def test_wrong_configurations(argv: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_args(argv, {})
    assert str(caught.value) == text
    assert caught.value.event == "failed to verify flags"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (
            ["--discovery=https://discovery.etcd.io/token"],
            (
                "--discovery is set, but v2 discovery is gone: put the number of members under "
                "/_etcd/registry/TOKEN/_config/size in an etcd v3 store and give each member "
                "--discovery-token=TOKEN and --discovery-endpoints"
            ),
        ),
        (["--proxy=on"], "--proxy is set, but the v2 proxy is not supported"),
    ],
)
def test_what_must_not_be_ignored_is_refused(argv: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_args(argv, {})
    assert str(caught.value) == text


def test_what_has_no_effect_yet_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    Config.from_args(["--memory-mlock", "--max-wals=3", "--bcrypt-cost=10"], {})
    assert [record.getMessage() for record in caplog.records] == [
        "flag is accepted but has no effect yet flag=max-wals",
        "flag is accepted but has no effect yet flag=memory-mlock",
    ]


def test_a_made_configuration_is_checked_on_demand() -> None:
    config = Config(heartbeat_interval=0)
    with pytest.raises(ConfigError):
        config.validate()


@pytest.mark.parametrize(
    ("mode", "text", "kept"),
    [
        ("periodic", "0", 0),
        ("periodic", "2", 7200),
        ("periodic", "30m", 1800),
        ("revision", "1000", 1000),
    ],
)
def test_retention(mode: str, text: str, kept: float) -> None:
    config = Config(auto_compaction_mode=mode, auto_compaction_retention=text)
    assert config.compaction_retention == kept

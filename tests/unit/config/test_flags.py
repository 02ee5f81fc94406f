"""The command line."""

import pytest

from pykvd.config import Config, ConfigError, HelpRequested, UsageError

ADVERTISE = ["--advertise-client-urls", "http://127.0.0.1:2379"]


def config(*argv: str) -> Config:
    return Config.from_args(argv, {})


@pytest.mark.parametrize(
    "argv", [["-name", "n"], ["-name=n"], ["--name", "n"], ["--name=n"], ["--name=m", "--name=n"]]
)
def test_forms_of_a_flag(argv: list[str]) -> None:
    assert config(*argv).name == "n"


def test_a_bool_takes_a_value_only_with_an_equals_sign() -> None:
    assert config("--socket-reuse-port").socket_reuse_port
    assert not config("--pre-vote=false").pre_vote
    with pytest.raises(ConfigError, match=r'^"false" is not a valid flag$'):
        config("--pre-vote", "false")


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--max-txn-ops", "0x10"], "max_txn_ops", 16),
        (["--quota-backend-bytes=-1"], "quota_backend_bytes", -1),
        (["--quota-backend-bytes=0"], "quota_backend_bytes", 2 * 1024**3),
        (["--snapshot-count=0"], "snapshot_count", 10_000),
        (["--grpc-keepalive-interval", "1h30m"], "grpc_keepalive_interval", 5400.0),
        (["--backend-batch-interval=5ms"], "backend_batch_interval", 0.005),
        (["--backend-batch-interval=0"], "backend_batch_interval", 0.1),
        (["--log-outputs=stdout,b,a"], "log_outputs", ("a", "b", "stdout")),
        (["--name", "n1"], "data_dir", "n1.etcd"),
        (["--listen-peer-urls", ""], "listen_peer_urls", Config().listen_peer_urls),
        (["--experimental-compaction-batch-limit=7"], "compaction_batch_limit", 7),
        (["--force", "-vv=1", "--snapshot"], "name", "default"),
        (
            [
                "--",
            ],
            "name",
            "default",
        ),
    ],
)
def test_values(argv: list[str], field: str, value: object) -> None:
    assert getattr(config(*argv), field) == value


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--foo"], "flag provided but not defined: -foo"),
        (["-foo=1"], "flag provided but not defined: -foo"),
        (["--nam"], "flag provided but not defined: -nam"),
        (["--name"], "flag needs an argument: -name"),
        (["---name"], "bad flag syntax: ---name"),
        (["--=name"], "bad flag syntax: --=name"),
        (
            ["--max-txn-ops", "2GB"],
            'invalid value "2GB" for flag -max-txn-ops: parse error',
        ),
        (["--max-txn-ops=-1"], 'invalid value "-1" for flag -max-txn-ops: parse error'),
        (
            ["--snapshot-count", "99999999999999999999"],
            'invalid value "99999999999999999999" for flag -snapshot-count: value out of range',
        ),
        (
            ["--max-concurrent-streams", "x"],
            (
                'invalid value "x" for flag -max-concurrent-streams: '
                'strconv.ParseUint: parsing "x": invalid syntax'
            ),
        ),
        (
            ["--backend-batch-interval", "5"],
            'invalid value "5" for flag -backend-batch-interval: parse error',
        ),
        (["--auto-tls=foo"], 'invalid boolean value "foo" for -auto-tls: parse error'),
        (
            ["--initial-cluster-state", "New"],
            'invalid value "New" for flag -initial-cluster-state: invalid value',
        ),
        (
            ["--listen-client-urls", "127.0.0.1:2379"],
            (
                'invalid value "127.0.0.1:2379" for flag -listen-client-urls: '
                'parse "127.0.0.1:2379": first path segment in URL cannot contain colon'
            ),
        ),
        (
            ["--cors", "foo"],
            (
                'invalid value "foo" for flag -cors: '
                "URL scheme must be http, https, unix, or unixs: foo"
            ),
        ),
        (
            ["--feature-gates", "Foo=true"],
            'invalid value "Foo=true" for flag -feature-gates: unrecognized feature gate: Foo',
        ),
        (
            ["--feature-gates", "LeaseCheckpoint"],
            (
                'invalid value "LeaseCheckpoint" for flag -feature-gates: '
                "missing bool value for LeaseCheckpoint"
            ),
        ),
    ],
)
def test_wrong_syntax(argv: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        config(*argv)
    assert str(caught.value) == text


@pytest.mark.parametrize("word", ["serve", "--name=x serve", "-"])
def test_words_are_refused(word: str) -> None:
    last = word.rpartition(" ")[2]
    with pytest.raises(ConfigError) as caught:
        config(*word.split())
    assert str(caught.value) == f'"{last}" is not a valid flag'
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help(flag: str) -> None:
    with pytest.raises(HelpRequested):
        config("--name", "x", flag)


def test_listening_elsewhere_needs_an_advertised_address() -> None:
    listen = ["--listen-client-urls", "http://0.0.0.0:2379"]
    with pytest.raises(ConfigError) as caught:
        config(*listen)
    assert str(caught.value) == (
        "--advertise-client-urls is required when --listen-client-urls is set explicitly"
    )
    assert config(*listen, *ADVERTISE).listen_client_urls[0].host == "0.0.0.0"


def test_a_name_alone_is_enough_for_a_new_cluster() -> None:
    named = config("--name", "n", "--initial-advertise-peer-urls", "http://h:2380")
    assert {n: tuple(map(str, u)) for n, u in named.initial_members.items()} == {
        "n": ("http://h:2380",)
    }
    assert list(config().initial_members) == ["default"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (
            ["--experimental-memory-mlock", "--memory-mlock"],
            (
                "cannot set --experimental-memory-mlock and --memory-mlock at the same time, "
                "please use --memory-mlock only"
            ),
        ),
        (
            [
                "--experimental-initial-corrupt-check=false",
                "--feature-gates=InitialCorruptCheck=true",
            ],
            (
                "cannot specify both flags: --experimental-initial-corrupt-check=false and "
                "--feature-gates=InitialCorruptCheck=true at the same time, please just use "
                "--feature-gates=InitialCorruptCheck=true"
            ),
        ),
    ],
)
def test_old_and_new_name_together(argv: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*argv)
    assert str(caught.value) == text


def test_feature_gates() -> None:
    gates = config(
        "--feature-gates=AllAlpha=true,LeaseCheckpoint=false,PriorityRequest=f"
        ",LeaseCheckpointPersist=false"
    ).feature_gates
    assert gates.enabled("CompactHashCheck")
    assert not gates.enabled("LeaseCheckpoint")
    assert gates.enabled("TxnModeWriteWithSharedBuffer")
    assert config("--experimental-enable-lease-checkpoint").feature_gates.enabled("LeaseCheckpoint")
    with pytest.raises(KeyError):
        gates.enabled("Foo")

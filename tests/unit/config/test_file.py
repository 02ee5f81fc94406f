"""The configuration file."""

from pathlib import Path

import pytest

from pykvd.config import Config, ConfigError

WRONG_TYPE = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "pykvd.yml"
    path.write_text(text)
    return Config.from_file(str(path))


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("", "name", "default"),
        ("{}", "name", "default"),
        ("name: n", "name", "n"),
        ('{"name": "n"}', "name", "n"),
        ("name: null", "name", "default"),
        ("unknown: 1", "name", "default"),
        ("max-txn-ops: 5", "max_txn_ops", 5),
        ("backend-batch-interval: 5000000", "backend_batch_interval", 0.005),
        ("pre-vote: false", "pre_vote", False),
        ("log-outputs: [stderr, /dev/null]", "log_outputs", ("stderr", "/dev/null")),
        ("host-whitelist: b,a", "host_whitelist", ("a", "b")),
        ("socket-options: {reuse-port: true}", "socket_reuse_port", True),
        ("auto-compaction-retention: '1'", "compaction_retention", 3600.0),
        ("experimental-snapshot-catch-up-entries: 9", "snapshot_catchup_entries", 9),
        ("listen-client-urls: ''", "listen_client_urls", Config().listen_client_urls),
        ("raft-read-timeout: 9000000000", "raft_read_timeout", 5.0),
        ("version: true", "name", "default"),
        ("initial-cluster-token: 2026-01-31", "initial_cluster_token", "2026-01-31"),
    ],
)
def test_values(tmp_path: Path, text: str, field: str, value: object) -> None:
    assert getattr(load(tmp_path, text), field) == value


def test_urls(tmp_path: Path) -> None:
    config = load(tmp_path, "listen-client-urls: http://127.0.0.1:1, http://127.0.0.1:2")
    assert [url.port for url in config.listen_client_urls] == [1, 2]
    assert config.advertise_client_urls == Config().advertise_client_urls


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", WRONG_TYPE + "array into Go value of type embed.configYAML"),
        ("x", WRONG_TYPE + "string into Go value of type embed.configYAML"),
        (
            "max-txn-ops: x",
            WRONG_TYPE + "string into Go struct field configYAML.Config.max-txn-ops of type uint",
        ),
        (
            "max-txn-ops: -1",
            WRONG_TYPE
            + "number -1 into Go struct field configYAML.Config.max-txn-ops of type uint",
        ),
        (
            "max-txn-ops: 1.5",
            WRONG_TYPE
            + "number 1.5 into Go struct field configYAML.Config.max-txn-ops of type uint",
        ),
        (
            "heartbeat-interval: true",
            WRONG_TYPE
            + "bool into Go struct field configYAML.Config.heartbeat-interval of type uint",
        ),
        (
            "name: 123",
            WRONG_TYPE + "number into Go struct field configYAML.Config.name of type string",
        ),
        (
            "name: {a: b}",
            WRONG_TYPE + "object into Go struct field configYAML.Config.name of type string",
        ),
        (
            "backend-batch-interval: 1h",
            WRONG_TYPE + "string into Go struct field configYAML.Config.backend-batch-interval "
            "of type time.Duration",
        ),
        (
            "log-outputs: stderr",
            WRONG_TYPE
            + "string into Go struct field configYAML.Config.log-outputs of type []string",
        ),
        (
            "log-outputs: [1]",
            WRONG_TYPE + "number into Go struct field configYAML.Config.log-outputs of type string",
        ),
        (
            "client-transport-security: x",
            WRONG_TYPE
            + "string into Go struct field configYAML.Config.client-transport-security of type map",
        ),
        ("initial-cluster-state: xx", 'unexpected clusterState "xx"'),
        (
            "listen-client-urls: foo",
            (
                "unexpected error setting up listen-client-urls: "
                "URL scheme must be http, https, unix, or unixs: foo"
            ),
        ),
        ("election-timeout: 0", "--election-timeout must be >0 (set to 0ms)"),
        (
            "{memory-mlock: true, experimental-memory-mlock: true}",
            (
                "cannot set --experimental-memory-mlock and --memory-mlock at the same time, "
                "please use --memory-mlock only"
            ),
        ),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == reason


@pytest.mark.parametrize("text", ["a: b: c", "[", "a: '\n", "\x01"])
def test_broken_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith("error converting YAML to JSON: yaml: ")
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_file(f"{tmp_path}/none.yml")
    assert str(caught.value) == f"open {tmp_path}/none.yml: no such file or directory"
    with pytest.raises(ConfigError, match=r"^read .*: is a directory$"):
        Config.from_file(str(tmp_path))


def test_a_file_stands_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pykvd.yml"
    path.write_text("name: file\n")
    caplog.set_level("INFO")
    environ = {"ETCD_NAME": "env", "ETCD_MAX_WALS": "x", "ETCD_CONFIG_FILE": str(path)}
    for argv, variables in (
        (["--name=flag", f"--config-file={path}"], {"ETCD_NAME": "env"}),
        (["--name=flag"], environ),
    ):
        config = Config.from_args(argv, variables)
        assert (config.name, config.max_wals) == ("file", 5)
    assert "loaded server configuration, other configuration command line flags" in caplog.text

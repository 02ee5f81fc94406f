"""Options in the environment."""

import logging

import pytest

from pykvd.config import Config, ConfigError, ShadowedVariableError


def test_variables_set_options(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    environ = {"ETCD_NAME": "n", "ETCD_MAX_TXN_OPS": "5", "NAME": "x", "ETCDCTL_API": "3"}
    config = Config.from_args([], environ)
    assert (config.name, config.max_txn_ops) == ("n", 5)
    assert [record.getMessage() for record in caplog.records] == [
        "recognized and used environment variable variable_name=ETCD_MAX_TXN_OPS variable_value=5",
        "recognized and used environment variable variable_name=ETCD_NAME variable_value=n",
    ]


@pytest.mark.parametrize("variable", ["ETCD_FOO=1", "ETCD_NAME="])
def test_unknown_and_empty_variables_are_reported(
    variable: str, caplog: pytest.LogCaptureFixture
) -> None:
    name, _, value = variable.partition("=")
    assert Config.from_args([], {name: value}) == Config()
    assert [record.getMessage() for record in caplog.records] == [
        f"unrecognized environment variable environment_variable={variable}"
    ]


def test_version_is_not_for_the_environment(caplog: pytest.LogCaptureFixture) -> None:
    assert Config.from_args([], {"ETCD_VERSION": "3.6"}) == Config()
    assert "cannot set special environment variable" in caplog.text


def test_flag_and_variable_together_are_fatal() -> None:
    with pytest.raises(ShadowedVariableError) as caught:
        Config.from_args(["--name", "a"], {"ETCD_NAME": "a"})
    assert caught.value.event == (
        "conflicting environment variable is shadowed by corresponding command-line flag "
        "(either unset environment variable or disable flag))"
    )
    assert caught.value.fields == {"environment_variable": "ETCD_NAME"}


def test_passwords_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Config.from_args([], {"ETCD_DISCOVERY_PASSWORD": "hunter2"})
    assert "ETCD_DISCOVERY_PASSWORD" in caplog.text
    assert "hunter2" not in caplog.text
    assert "hunter2" not in str(Config(discovery_password="hunter2").as_flags())


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("ETCD_AUTO_TLS", "x", 'invalid value "x" for ETCD_AUTO_TLS: parse error'),
        ("ETCD_MAX_WALS", "2GB", 'invalid value "2GB" for ETCD_MAX_WALS: parse error'),
        ("ETCD_PROXY", "yes", 'invalid value "yes" for ETCD_PROXY: invalid value'),
    ],
)
def test_wrong_values(variable: str, value: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_args([], {variable: value})
    assert str(caught.value) == text


def test_variables_count_as_given() -> None:
    with pytest.raises(ConfigError, match="--advertise-client-urls is required"):
        Config.from_args([], {"ETCD_LISTEN_CLIENT_URLS": "http://127.0.0.1:1"})

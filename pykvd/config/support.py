"""Which options this server does not act on yet: refused where ignoring them would do harm.

This is the one place to edit when a feature arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.config.catalog import OPTIONS
from pykvd.config.errors import ConfigError

if TYPE_CHECKING:
    from pykvd.config.config import Config

#: Set to another value than the default, these stop the start: whoever asks for a cluster found
#: elsewhere must not get a lone server.
REFUSED = {
    "discovery": "v2 discovery is gone: put the number of members under "
    "/_etcd/registry/TOKEN/_config/size in an etcd v3 store and give each member "
    "--discovery-token=TOKEN and --discovery-endpoints",
    "proxy": "the v2 proxy is not supported",
}

#: Set to another value than the default, these are logged and the start goes on.
NO_EFFECT = frozenset(
    {
        "max-snapshots",
        "max-wals",
        "backend-bbolt-freelist-type",
        "memory-mlock",
        "initial-election-tick-advance",
        "raft-read-timeout",
        "raft-write-timeout",
        "downgrade-check-time",
        "discovery-proxy",
        "v2-deprecation",
        "enable-v2",
        "experimental-enable-v2v3",
        "proxy-failure-wait",
        "proxy-refresh-interval",
        "proxy-dial-timeout",
        "proxy-write-timeout",
        "proxy-read-timeout",
    }
)


def check_support(config: Config) -> None:
    """Raise ConfigError when an option is set that must not be ignored."""
    for flag, reason in REFUSED.items():
        if is_set(config, flag):
            raise ConfigError(f"--{flag} is set, but {reason}")


def without_effect(config: Config) -> list[str]:
    """The flags that were set although nothing acts on them yet."""
    return [flag for flag in OPTIONS if flag in NO_EFFECT and is_set(config, flag)]


def is_set(config: Config, flag: str) -> bool:
    """Whether the option has another value than its default."""
    option = OPTIONS[flag]
    return bool(getattr(config, option.field_name) != option.default)

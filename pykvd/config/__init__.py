"""The server's options: one typed `Config` from flags, `ETCD_*` variables or a YAML file."""

from pykvd.config.config import Config
from pykvd.config.errors import ConfigError, HelpRequested, ShadowedVariableError, UsageError
from pykvd.config.gates import FeatureGates
from pykvd.config.urls import URL

__all__ = [
    "URL",
    "Config",
    "ConfigError",
    "FeatureGates",
    "HelpRequested",
    "ShadowedVariableError",
    "UsageError",
]

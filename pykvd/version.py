"""The project's own version and the level of the etcd API it serves."""

VERSION = "0.1.0"

#: Reported by Maintenance.Status, so that clients which check versions see an API they know.
API_VERSION = "3.6.14"
STORAGE_VERSION = "3.6.0"

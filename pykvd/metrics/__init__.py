"""What one server tells about itself, in Prometheus' text format, under etcd's names.

Every module counts what it does in plain attributes of its own; nothing here is on the way of a
request. `Metrics.render` reads them all, so that a scrape costs about a millisecond and the time
between scrapes next to nothing. There is no global registry: several servers of one process each
have their own.

Names, labels and buckets are etcd's wherever the thing exists here, so that its dashboard and alert
rules work; what only exists here is called `pykvd_...`. docs/monitoring.md lists them.
"""

from pykvd.metrics.exposition import CONTENT_TYPE
from pykvd.metrics.health import HealthCounts
from pykvd.metrics.metrics import Metrics

__all__ = ["CONTENT_TYPE", "HealthCounts", "Metrics"]

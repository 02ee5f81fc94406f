"""How often the health endpoints were asked, and what they said."""

from collections.abc import Iterator

from pykvd.metrics.exposition import Family, counter, counters, gauges, labels


class HealthCounts:
    """Counted by whoever serves `/health`, `/livez` and `/readyz`."""

    def __init__(self) -> None:
        self.successes = 0
        self.failures = 0
        #: By (endpoint, check): whether it passed last, times passed, times failed.
        self._checks: dict[tuple[str, str], tuple[bool, int, int]] = {}

    def answered(self, *, healthy: bool) -> None:
        """`/health` was asked."""
        if healthy:
            self.successes += 1
        else:
            self.failures += 1

    def checked(self, endpoint: str, check: str, *, ok: bool) -> None:
        """A single check of `livez` or `readyz` was run."""
        _, passed, failed = self._checks.get((endpoint, check), (ok, 0, 0))
        self._checks[endpoint, check] = (ok, passed + ok, failed + (not ok))

    def families(self) -> Iterator[Family]:
        """The samples."""
        yield counter(
            "etcd_server_health_success", "Answers of /health that were good.", self.successes
        )
        yield counter(
            "etcd_server_health_failures", "Answers of /health that were bad.", self.failures
        )
        yield gauges(
            "etcd_server_healthcheck",
            "Whether a check passed when it was run last.",
            (
                (labels(type=endpoint, name=check), int(ok))
                for (endpoint, check), (ok, _, _) in self._checks.items()
            ),
        )
        yield counters(
            "etcd_server_healthchecks_total",
            "Checks that were run.",
            (
                (labels(type=endpoint, name=check, status=status), count)
                for (endpoint, check), (_, passed, failed) in self._checks.items()
                for status, count in (("success", passed), ("error", failed))
            ),
        )

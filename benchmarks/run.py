"""`python -m benchmarks.run`: run pykvd and etcd in turn and print how they compare."""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import uvloop

from benchmarks import failover, report, scale
from benchmarks.cluster import Cluster, fresh_cluster
from benchmarks.errors import BenchmarkError
from benchmarks.generator import Duration, Generator
from benchmarks.machine import describe
from benchmarks.servers import COMMANDS, Server, fresh_server
from benchmarks.settle import settle
from benchmarks.workload import Workload
from benchmarks.workloads import WORKLOADS, dataset
from benchmarks.workloads.cluster import CLUSTER_WORKLOADS

_MILLION = 1_000_000


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `--quick` only changes defaults."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--rounds", type=int, help="of each server in turn (default 3)")
    parser.add_argument("--seconds", type=float, help="measured for each workload (default 2.5)")
    parser.add_argument("--keys", type=int, help="for memory and restart (default 1000000)")
    parser.add_argument("--only", default="", metavar="PATTERN", help="rows matching this regex")
    parser.add_argument("--servers", default="pykvd,etcd", help=f"of {', '.join(COMMANDS)}")
    parser.add_argument("--processes", type=int, default=2, help="that generate load (default 2)")
    parser.add_argument("--quick", action="store_true", help="1 round of 1.5 s, 200000 keys")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where data directories are made and removed (the disk that is measured)",
    )
    options = parser.parse_args(arguments)
    rounds, seconds, keys = (1, 1.5, 200_000) if options.quick else (3, 2.5, _MILLION)
    options.rounds = options.rounds or rounds
    options.seconds = options.seconds or seconds
    options.keys = options.keys or keys
    options.servers = options.servers.split(",")
    if unknown := set(options.servers) - set(COMMANDS):
        parser.error(f"unknown servers: {', '.join(sorted(unknown))}")
    return options


class Benchmark:
    """All that was asked for on the command line, and its results."""

    def __init__(self, options: argparse.Namespace) -> None:
        wanted = re.compile(options.only)
        self.results = report.Results()
        self._options = options
        self._workloads = [one for one in WORKLOADS if wanted.search(one.row.name)]
        self._scale_rows = [row for row in scale.ROWS if wanted.search(row.name)]
        self._cluster_workloads = [one for one in CLUSTER_WORKLOADS if wanted.search(one.row.name)]
        self._failover_rows = [row for row in failover.ROWS if wanted.search(row.name)]
        self._duration = Duration(options.seconds / 4, options.seconds)

    def run(self) -> None:
        """Run every round; servers take turns, and another one begins in each round."""
        servers = self._options.servers
        with Generator(self._options.processes) as generator:
            for number in range(self._options.rounds):
                first = number % len(servers)
                for name in servers[first:] + servers[:first]:
                    _say(f"round {number + 1} of {self._options.rounds}: {name}")
                    self._measure_server(generator, name)

    def table(self) -> str:
        """The table of everything measured."""
        keys = f"{self._options.keys:,}"
        rows = [workload.row for workload in self._workloads]
        rows += [replace(row, about=row.about.format(keys)) for row in self._scale_rows]
        rows += [workload.row for workload in self._cluster_workloads]
        rows += self._failover_rows
        return report.table(rows, self._options.servers, self.results)

    def _measure_server(self, generator: Generator, name: str) -> None:
        root = self._options.data_root
        self._measure_fresh(generator, fresh_server(name, root), self._workloads)
        if self._scale_rows:
            self._guard([row.name for row in self._scale_rows], name, lambda: self._scale(name))
        self._measure_fresh(generator, fresh_cluster(name, root), self._cluster_workloads)
        for row in self._failover_rows:
            self._guard([row.name], name, lambda: self._failover(name))

    def _measure_fresh(
        self,
        generator: Generator,
        fresh: AbstractContextManager[Server | Cluster],
        workloads: Sequence[Workload],
    ) -> None:
        if workloads:
            with fresh as server:
                if self._guard(_names(workloads), server.name, server.start):
                    self._measure_workloads(generator, server, workloads)

    def _measure_workloads(
        self, generator: Generator, server: Server | Cluster, workloads: Sequence[Workload]
    ) -> None:
        with_keys = _names(one for one in workloads if one.needs_keys)
        loaded: bool | None = None
        for workload in workloads:
            if workload.needs_keys and loaded is None:
                loaded = self._guard(with_keys, server.name, lambda: _load_keys(server))
            if not workload.needs_keys or loaded:
                self._measure_workload(generator, workload, server)

    def _measure_workload(
        self, generator: Generator, workload: Workload, server: Server | Cluster
    ) -> None:
        def measure() -> None:
            server.check()
            port, *followers = server.ports()
            settle(port)
            if workload.prepare:
                uvloop.run(workload.prepare(port))
            if workload.tls and isinstance(server, Server):
                port = server.tls_port
            figures = generator.measure(workload, port, self._duration, followers)
            self.results.add(workload.row.name, server.name, figures)
            _say(
                f"  {workload.row.name}: {figures.value:,.6g} {workload.row.unit}, "
                f"p50 {figures.p50_ms:.3g} ms, p99 {figures.p99_ms:.3g} ms, "
                f"generator {figures.generator_busy:.2f} cores"
            )

        self._guard([workload.row.name], server.name, measure)

    def _scale(self, name: str) -> None:
        measured = scale.Scale(self._options.keys).measure(name, self._options.data_root)
        for row in self._scale_rows:
            self.results.add(row.name, name, measured[row.name])
            _say(f"  {row.name}: {measured[row.name].value:,.6g} {row.unit}")

    def _failover(self, name: str) -> None:
        for row, figures in failover.measure(name, self._options.data_root):
            self.results.add(row.name, name, figures)
            _say(f"  {row.name}: {figures.value:,.6g} {row.unit}")

    def _guard(self, rows: Sequence[str], server: str, step: Callable[[], object]) -> bool:
        """Run a step; when it fails, `rows` of this server have no figures at all."""
        try:
            step()
        except (BenchmarkError, OSError) as error:
            _say(f"  {', '.join(rows)} FAILED: {error}")
            for row in rows:
                self.results.add_error(row, server, str(error))
            return False
        return True


def _names(workloads: Iterable[Workload]) -> list[str]:
    return [workload.row.name for workload in workloads]


def _load_keys(server: Server | Cluster) -> None:
    uvloop.run(dataset.load(server.ports()[0], dataset.KEY_COUNT, dataset.VALUE_SIZE))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print the table, and return 1 when anything failed."""
    options = parse_arguments(sys.argv[1:])
    benchmark = Benchmark(options)
    machine = describe(options.servers, options.data_root)
    begin = time.monotonic()
    benchmark.run()
    summary = (
        f"- load: {options.processes} processes on the same machine; medians of "
        f"{options.rounds} rounds of {options.seconds:g} s; {time.monotonic() - begin:.0f} s in all"
    )
    page = "\n".join([*machine, summary, "", benchmark.table(), ""])
    print(page)
    if options.markdown:
        options.markdown.write_text(page)
    for (row, server), errors in benchmark.results.errors.items():
        _say(f"{row} on {server}: {errors[0]}")
    return 1 if benchmark.results.errors else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.clients`: our client beside others in Python, on the same server.

Each client runs in a process of its own, in turn, several rounds; the table has the medians. What
is measured: the time to import it, calls a second with one caller and with a hundred (threads or
tasks), CPU time of the client's process a call, and watch events a second (a hundred watches of one
key, a hundred changes). `grpcio` stands for bare gRPC calls with our messages: what a client built
on it can reach.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.client_loads import LOADS
from benchmarks.machine import describe
from benchmarks.servers import fresh_server

ROWS = ("import ms", "put 1", "put 100", "get 1", "get 100", "put 100 cpu us", "watch events")


def measure(name: str, port: int, calls: int) -> dict[str, float]:
    """One round of one client, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.client_loads", name, str(port), str(calls)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(rounds: dict[str, list[dict[str, float]]]) -> str:
    """Medians as a Markdown table, a column a client."""
    names = list(rounds)
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for row in ROWS:
        cells = []
        for name in names:
            values = [one[row] for one in rounds[name] if row in one]
            cells.append(f"{statistics.median(values):,.0f}" if values else "-")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("--server", default="pykvd", help="pykvd (default) or etcd")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=2000, help="a row (default 2000)")
    parser.add_argument("--clients", default=",".join(LOADS), help="some of them")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path("/dev/shm"),
        help="where the server keeps its data (default /dev/shm: clients are measured, not disks)",
    )
    options = parser.parse_args(arguments)
    names = options.clients.split(",")
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with fresh_server(options.server, options.data_root) as server:
        server.start()
        for _ in range(options.rounds):
            for name in names:
                rounds[name].append(measure(name, server.port, options.calls))
    print(*describe([options.server], options.data_root), sep="\n")
    print(table(rounds))


if __name__ == "__main__":
    main()

"""`python -m tests.integration.crash`: kill and restart a server many times, and look for lost
writes."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.harness.server import KINDS
from tests.integration.crash.campaign import Campaign, on_slow_disk
from tests.integration.crash.history import HistoryError


@click.command()
@click.option("--rounds", default=20, show_default=True, help="How often to kill the server.")
@click.option("--seed", type=int, help="Repeat the random choices of another run.")
@click.option("--server", type=click.Choice(sorted(KINDS)), default="pykvd", show_default=True)
@click.option("--slow-disk", is_flag=True, help="Let every write of the log (pykvd's) wait.")
@click.option("--keep", is_flag=True, help="Keep the data directory.")
def main(rounds: int, seed: int | None, server: str, slow_disk: bool, keep: bool) -> None:
    """Kill -9 a server ROUNDS times while clients write, and check every acknowledged write."""
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    home = Path(tempfile.mkdtemp(prefix="pykvd-crash-"))
    kind = on_slow_disk(KINDS[server]) if slow_disk else KINDS[server]
    click.echo(f"seed {seed}, data in {home}")
    started = time.monotonic()
    with Campaign(kind, home, seed) as campaign:
        for number in range(1, rounds + 1):
            try:
                campaign.round()
            except HistoryError as error:
                click.echo(f"FAILED after {number} rounds: {error}", err=True)
                sys.exit(1)
            if number % 10 == 0 or number == rounds:
                elapsed = time.monotonic() - started
                click.echo(f"{number} rounds, {campaign.acknowledged} writes, {elapsed:.0f} s")
    if not keep:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()

"""`qkd bench read`: tag files to time tags in memory."""

from __future__ import annotations

import click

from cli.bench.report import report


@click.command("read")
@click.option("--events", type=click.IntRange(min=1), default=8_000_000, show_default=True, help="Clicks in each file.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Timed readings of each.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the made-up clicks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(events: int, repeats: int, seed: int, as_json: bool) -> None:
    """Tag files of every format that has a speed to claim, from the page cache to time tags in memory.

    The references read the same file in the same run: plain numpy for a1, ptufile for PTU where it is installed.

    \b
    Example:  qkd bench read --events 1000000 --json
    """
    import numpy as np

    from qkd.benchmarks.read import run

    report("read", run(np.random.default_rng(seed), events=events, repeats=repeats), as_json=as_json)

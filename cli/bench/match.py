"""`qkd bench match`: the matcher alone, and raw words to sifted bits."""

from __future__ import annotations

import click

from cli.bench.report import report


@click.command("match")
@click.option("--seconds", default=4.0, show_default=True, help="Length of the simulated recording.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Timed calls of each stage.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the simulated link.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(seconds: float, repeats: int, seed: int, as_json: bool) -> None:
    """Coincidences; and the whole way from raw words to sifted bits, 1.6 million clicks a second and side.

    Events of both stations count. The matcher's reference is numpy's binary search in the same run.

    \b
    Example:  qkd bench match --seconds 1 --json
    """
    import numpy as np

    from qkd.benchmarks.match import run

    report("match", run(np.random.default_rng(seed), seconds=seconds, repeats=repeats), as_json=as_json)

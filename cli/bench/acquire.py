"""`qkd bench acquire`: finding two unknown clocks, over a table of rates and drifts."""

from __future__ import annotations

import shutil

import click

from cli.bench.report import report


@click.command("acquire")
@click.option("--seeds", default=3, show_default=True, help="Recordings per case; 20 for the figures that we state.")
@click.option("--case", metavar="TEXT", help="Only the cases whose name contains this.")
@click.option("--fpfind", metavar="PATH", help="Program of the reference row  [default: fpfind, if it is installed]")
@click.option("--seed", default=1, show_default=True, help="Of the first recording.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(seeds: int, case: str | None, fpfind: str | None, seed: int, as_json: bool) -> None:
    """Offset and drift of two unknown clocks from the detection times alone.

    Each case draws streams with a clock anywhere in the range that the search is told, and reports the median of the
    seconds, how many were found, how many answers were wrong, and the errors of the right ones.

    \b
    Example:  qkd bench acquire --case "1e4/s 10 ppm" --seeds 2
    """
    from qkd.benchmarks import acquire

    result = acquire.run(seeds=seeds, case=case, fpfind=fpfind or shutil.which("fpfind"), seed=seed)
    report("acquire", result, as_json=as_json)

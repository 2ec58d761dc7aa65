"""`qkd bench simulate`: time tags of a simulated link per second."""

from __future__ import annotations

import click

from cli.bench.report import report


@click.command("simulate")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Simulated time per repeat.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(seconds: float, as_json: bool) -> None:
    """Time tags that the simulator makes per second, from a plain link to one with every effect switched on.

    \b
    Example:  qkd bench simulate --json
    """
    from qkd.benchmarks.simulate import measure

    report("simulate", measure(seconds), as_json=as_json)

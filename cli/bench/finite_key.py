"""`qkd bench finite-key`: one key length, against two other ways to compute it."""

from __future__ import annotations

import click

from cli import output
from cli.bench.report import report


@click.command("finite-key")
@click.option("--bits", default=10_000_000, show_default=True, help="Sifted bits, half in each basis.")
@click.option("--qber", type=float, default=0.025, show_default=True, help="Error rate, a fraction.")
@click.option("--eps", type=float, default=1e-10, show_default=True, help="Secrecy parameter of the basis.")
@click.option("--repeats", type=click.IntRange(min=1), default=21, show_default=True, help="Timed evaluations.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(bits: int, qber: float, eps: float, repeats: int, as_json: bool) -> None:
    """Seconds that one key length takes, and whether it is right to the bit; planning beside it.

    The references decide the same length in the same run: scipy in double precision, and mpmath with 60 digits where it
    is installed. `wrong` counts answers that differ from ours, over blocks of all sizes up to this one.

    \b
    Example:  qkd bench finite-key --bits 100000 --json
    """
    from qkd.benchmarks import finitekey

    result = finitekey.run(bits=bits, qber=qber, eps=eps, repeats=repeats)
    for name in finitekey.absent():
        output.say(f"{name}: not installed, so nothing was compared with it")
    report("finite-key", result, as_json=as_json)

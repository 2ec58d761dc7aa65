"""`qkd bench privacy`: the hash of privacy amplification, by every way this machine has."""

from __future__ import annotations

import click

from cli import output


@click.command("privacy")
@click.option("--bits", default=1_000_000, show_default=True, help="Input of the hash.")
@click.option("--ratio", default=0.5, show_default=True, metavar="X", help="Output over input.")
@click.option("--seed", default=1, show_default=True, help="Of input and seed bits.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(bits: int, ratio: float, seed: int, as_json: bool) -> None:
    """Input bits a second that privacy amplification hashes on one core, and each way to compute it by itself.

    The references compute the same key: scipy.fft in floating point, and python-flint where it is installed. Every
    row but the first says how many bits of its key were wrong.

    \b
    Example:  qkd bench privacy --bits 100000 --json
    """
    from qkd.benchmarks import privacy

    speed = privacy.measure(bits, ratio, seed)
    if as_json:
        output.emit("qkd.bench.privacy.v1", speed.fields() | {"absent": list(privacy.absent())})
        return
    lines = [("method", speed.method), ("carry-less products, bits", str(speed.carryless_bits))]
    for row in speed.rows:
        wrong = row.details.get("wrong_bits")
        lines.append((row.case, f"{row.value:.4g} {row.unit}" + (f", {wrong} bits wrong" if wrong else "")))
    output.table([*lines, *((name, "not installed") for name in privacy.absent())])

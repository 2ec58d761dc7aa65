"""`qkd bench reconcile`: one point of error correction, every figure of it."""

from __future__ import annotations

import click

from cli import output


@click.command("reconcile")
@click.option("--method", default="cascade", show_default=True, metavar="NAME", help="cascade or ldpc.")
@click.option("--preset", default="fast", show_default=True, metavar="NAME", help="Of the method.")
@click.option("--qber", type=float, default=0.03, show_default=True, help="Probability of an error, a fraction.")
@click.option("--frame", "frame_bits", default=65536, show_default=True, metavar="BITS", help="Length of a string.")
@click.option("--frames", default=256, show_default=True, help="How many strings.")
@click.option("--seed", default=1, show_default=True, help="Of strings, errors and public seeds.")
@click.option(
    "--estimate-factor",
    default=1.0,
    show_default=True,
    metavar="X",
    help="What the parties take for the error rate, over the true one.",
)
@click.option("--threads", default=1, show_default=True, help="Batches at a time.")
@click.option("--batch", default=0, help="Frames corrected together  [default: 64, at most 2^22 bits]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    method: str,
    preset: str,
    qber: float,
    frame_bits: int,
    frames: int,
    seed: int,
    estimate_factor: float,
    threads: int,
    batch: int,
    as_json: bool,
) -> None:
    """What error correction discloses (f), how often it fails, rounds, bytes and speed, at one error rate.

    Both parties run in this process and every message is encoded and decoded. Speed is of both parties' whole work,
    by processor time on one core; with --threads, by wall clock, and `scaling` tells the gain over one thread.

    \b
    Example:  qkd bench reconcile --qber 0.02 --frames 128 --json
    """
    from qkd.benchmarks.batches import Setup
    from qkd.benchmarks.reconcile import measure

    setup = Setup(
        method=method,
        preset=preset,
        qber=qber,
        frame_bits=frame_bits,
        frames=frames,
        seed=seed,
        estimate_factor=estimate_factor,
        batch=batch,
        threads=threads,
    )
    measured = measure(setup)
    fields = measured.fields()
    if as_json:
        output.emit("qkd.bench.reconcile.v1", fields | {"rows": [row.fields() for row in measured.rows()]})
        return
    output.table([(name, _text(value)) for name, value in fields.items()])


def _text(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

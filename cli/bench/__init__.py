"""`qkd bench`: every speed that we claim, reproducible; one file a stage, the measuring itself in `qkd.benchmarks`."""

from __future__ import annotations

import click

from cli.lazy import LazyGroup

STAGES: dict[str, tuple[str, str]] = {
    "read": ("cli.bench.read", "Tag files of every format to time tags in memory."),
    "acquire": ("cli.bench.acquire", "Offset and drift of two unknown clocks, over a table of rates and drifts."),
    "match": ("cli.bench.match", "Coincidences; and the whole way from raw words to sifted bits."),
    "pipeline": ("cli.bench.pipeline", "A block from sifted bits to released key, both parties, stage by stage."),
    "auth": ("cli.bench.auth", "Authentication: tags over conversations of any size, and with pads on disk."),
    "privacy": ("cli.bench.privacy", "Privacy amplification: the hash, by every way this machine has."),
    "reconcile": (
        "cli.bench.reconcile",
        "Error correction: leak, failures, rounds, bytes and speed at one error rate.",
    ),
    "reconcile-study": (
        "cli.bench.reconcile_study",
        "The same over error rates, frame lengths and presets, into files.",
    ),
    "finite-key": ("cli.bench.finite_key", "One key length by the exact tail, and whether it is right to the bit."),
    "simulate": ("cli.bench.simulate", "Time tags of a simulated link with every effect switched on."),
}


@click.group("bench", cls=LazyGroup, commands_table=STAGES)
def command() -> None:
    """Measure a stage on this machine, with a reference in the same run where there is one.

    \b
    Example:  qkd bench match --json
    """

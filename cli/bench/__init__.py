"""`qkd bench`: every speed that we claim, reproducible; one file a stage, the measuring itself in `qkd.benchmarks`."""

from __future__ import annotations

import click

from cli.lazy import LazyGroup

STAGES: dict[str, tuple[str, str]] = {}


@click.group("bench", cls=LazyGroup, commands_table=STAGES)
def command() -> None:
    """Measure a stage on this machine, with a reference in the same run where there is one.

    \b
    Example:  qkd bench match --json
    """

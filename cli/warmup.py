"""`qkd warmup`: compile every kernel now, so that nothing waits later."""

from __future__ import annotations

import time

import click

from cli import output


@click.command("warmup")
def command() -> None:
    """Compile every kernel into the cache by running one small link through all stages.

    \b
    Example:  qkd warmup
    """
    output.say("compiling kernels (first run only) ...")
    begin = time.monotonic()
    from distribution.kernels._jit import cache_directory
    from qkd.rehearsal import rehearse

    bits = rehearse()
    output.say(f"done in {time.monotonic() - begin:.0f} s ({bits} secret bits rehearsed); cache: {cache_directory()}")

"""`qkd node`: one station as a service."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import click

from cli import output


@click.command("node")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
def command(config: Path, verbose: bool) -> None:
    """Run the station that CONFIG describes: engine, key store and key API.

    Events go to stdout, one JSON object a line; the service runs until it is stopped.

    \b
    Example:  qkd config show > alice.toml && qkd node alice.toml
    """
    from qkd.node.config import load
    from qkd.node.service import Node

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO if verbose else logging.WARNING, format="qkd: %(name)s: %(message)s"
    )
    loaded = load(config)

    async def serve() -> None:
        node = Node(loaded, _print_event)
        task = asyncio.ensure_future(node.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            output.say("stopped")

    asyncio.run(serve())


def _print_event(event: dict[str, Any]) -> None:
    click.echo(json.dumps(event))
    sys.stdout.flush()

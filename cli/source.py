"""`qkd source`: live simulated taggers, one stream per station."""

from __future__ import annotations

import asyncio
import json
import os
import secrets

import click

from cli import output


@click.command("source")
@click.argument("scenario")
@click.option("--listen", "host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--alice-port", type=click.IntRange(0, 65535), default=5001, show_default=True, help="0 = any free one.")
@click.option("--bob-port", type=click.IntRange(0, 65535), default=5002, show_default=True, help="0 = any free one.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the simulation; drawn and printed when absent.")
@click.option("--eve", type=click.FloatRange(0, 1), default=0.0, help="Fraction of Bob's photons she intercepts.")
@click.option("--attack", metavar="NAME[:KEY=VALUE,...]", help="Another eavesdropper, by name or from a TOML file.")
@click.option("--pace", type=click.FloatRange(0, min_open=True), default=1.0, help="Simulated seconds per second.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so much simulated time.")
def command(
    scenario: str,
    host: str,
    alice_port: int,
    bob_port: int,
    seed: int | None,
    eve: float,
    attack: str | None,
    pace: float,
    seconds: float | None,
) -> None:
    """Simulate SCENARIO (a file, or the name of a shipped one) and stream each station its own tags.

    Prints one JSON line with the ports when both are open, then runs until it is stopped.

    \b
    Example:  qkd source metro --seconds 10
    """
    import numpy as np

    from distribution.eavesdroppers.named import at_work, link_under
    from distribution.errors import ParameterError
    from distribution.live import LiveSource
    from distribution.scenario import load_scenario
    from distribution.simulate import LinkSimulator

    if seed is None:
        seed = secrets.randbits(32)
        output.say(f"seed {seed}")
    attacker = at_work(eve, attack)
    loaded = link_under(attacker, load_scenario(scenario))
    simulator = LinkSimulator(loaded, np.random.default_rng(seed), attacker)
    live = LiveSource(simulator, device=f"simulated: {loaded.title}", pace=pace)

    async def serve() -> None:
        try:
            ports = await live.listen(host, alice_port, bob_port)
        except OSError as error:
            raise ParameterError(
                f"cannot listen on {host}, ports {alice_port} and {bob_port}: {os.strerror(error.errno or 0).lower()}",
                hint="choose others with --alice-port and --bob-port; 0 takes a free one",
            ) from error
        click.echo(json.dumps({"schema": "qkd.ready.v1", "alice_port": ports[0], "bob_port": ports[1]}))
        try:
            await live.run(seconds)
        finally:
            await live.close()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        output.say("stopped")

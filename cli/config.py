"""`qkd config`: check a station's file, or show one to start from."""

from __future__ import annotations

from pathlib import Path

import click

from cli import output


@click.group("config")
def command() -> None:
    """Check or show a station's configuration.

    \b
    Example:  qkd config show > alice.toml
    """


@command.command("check")
@click.argument("path", type=click.Path(path_type=Path))
def check(path: Path) -> None:
    """Read PATH as `qkd node` would, and say whether it can be used."""
    from distribution.delivery import check_options
    from qkd.confirmation import run_epsilon
    from qkd.node.config import load

    config = load(path)
    driver, options = config.feed.source
    check_options(driver, options)
    output.say(f"{path} is a valid configuration of {config.role.value}, fed by driver {driver}")
    runs = int(config.store.eps_budget / run_epsilon(config.session))
    output.say(f"its epsilon budget of {config.store.eps_budget:.4g} covers {runs:.3g} blocks in the life of the link")


@command.command("show")
@click.argument("path", type=click.Path(path_type=Path), required=False)
def show(path: Path | None) -> None:
    """Print PATH with every default filled in, or a commented example."""
    from qkd.node.config import EXAMPLE, load, resolved

    click.echo(EXAMPLE if path is None else resolved(load(path)), nl=False)

"""The option that names the error correction, the same for every command that makes key."""

from __future__ import annotations

import click

from qkd.reconciliation.choice import Method

reconciliation = click.option(
    "--reconciliation",
    type=click.Choice([method.value for method in Method]),
    default="auto",
    show_default=True,
    help="Error correction; auto: Alice chooses for each block.",
)

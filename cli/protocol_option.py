"""The option that names the protocol, the same for every command that makes key."""

from __future__ import annotations

import click

from qkd.protocols import Protocol

protocol = click.option(
    "--protocol",
    type=click.Choice([protocol.value for protocol in Protocol]),
    default=Protocol.BBM92.value,
    show_default=True,
    help="Which one; e91 and e91-3x2 make a Bell test and need their own analysers.",
)

SCENARIOS = {Protocol.BBM92.value: "metro", Protocol.E91.value: "metro-e91", Protocol.E91_3X2.value: "metro-e91-3x2"}
"""The shipped scenario with the analysers of each protocol."""

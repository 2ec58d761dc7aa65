"""The `qkd` command: a table of sub-commands, each imported only when it is called.

`qkd --help` must answer at once, so this module and `cli.output` import neither numpy nor numba.
"""

from __future__ import annotations

from typing import Any

import click

from cli import output
from cli.lazy import LazyGroup
from qkd import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("cli.demo", "The whole thing on one machine: source, two stations, key APIs, keys that match."),
    "simulate": ("cli.simulate", "Two stations' tag files from a scenario, and the truth beside them."),
    "source": ("cli.source", "Live simulated taggers: one stream per station."),
    "tags": ("cli.tags", "Tag files: convert, look into, describe."),
    "analyse": ("cli.analyse", "Counts, rates, clock, coincidences and error rates of recordings."),
    "session": ("cli.session", "Keys from two tag files: both engines in one process."),
    "node": ("cli.node", "One station as a service: engine, key store, key API."),
    "keys": ("cli.keys", "Fetch keys over ETSI GS QKD 014."),
    "pki": ("cli.pki", "Certificates for key managers and applications."),
    "finite-key": ("cli.finite_key", "Secret key length that a finite block gives."),
    "device-independent": ("cli.device_independent", "Key that the CHSH value alone would give."),
    "config": ("cli.config", "Check or show a station's configuration."),
    "codes": ("cli.codes", "Parity-check matrices of reconciliation: show, check, make."),
    "bench": ("cli.bench", "Measure every speed we claim, on this machine."),
    "vectors": ("cli.vectors", "Known-answer vectors: check, make."),
    "warmup": ("cli.warmup", "Compile every kernel now, so that nothing waits later."),
    "doctor": ("cli.doctor", "Check this installation, and say how to mend it."),
}


class QkdGroup(LazyGroup):
    """The top of the tree: where errors meet the user."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; our errors become one line, a hint and a documented exit code."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            output.fail(error)


@click.group(
    cls=QkdGroup,
    commands_table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="qkd")
def main() -> None:
    """Entanglement-based quantum key distribution.

    \b
    Example:  qkd demo
    Exit codes: 0 done, 1 failure, 2 usage, 3 protocol abort (no key), 4 authentication or
    verification failure, 5 peer unreachable, 6 not enough key.
    """


if __name__ == "__main__":
    main()

"""`qkd bench pipeline`: a block from sifted bits to released key, both parties, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import output
from qkd.reconciliation.choice import Method

if TYPE_CHECKING:
    from qkd.benchmarks.pipeline import PipelineSpeed


@click.command("pipeline")
@click.option("--qber", type=float, default=0.03, show_default=True, help="Error rate of the sifted bits, a fraction.")
@click.option("--block-bits", default=1_000_000, show_default=True, help="Sifted bits of a block, both bases.")
@click.option("--blocks", default=5, show_default=True, help="Timed blocks of each case; as many again by stages.")
@click.option(
    "--reconciliation",
    type=click.Choice([method.value for method in Method]),
    default=Method.CASCADE_FAST.value,
    show_default=True,
    help="Error correction of the headline.",
)
@click.option(
    "--heralding",
    default=0.3,
    show_default=True,
    metavar="SHARE",
    help="Share of the clicks that are coincidences, where tags come in; 0 leaves that out.",
)
@click.option("--seed", default=1, show_default=True, help="Of bits, errors and tags.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where the key stores stand during the run  [default: the system's folder for temporary files]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    qber: float,
    block_bits: int,
    blocks: int,
    reconciliation: str,
    heralding: float,
    seed: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Sifted bits a second that become released key, both parties' work on one core, and the seconds of each stage.

    Both engines run in this process; every message is encoded, decoded and authenticated, and both key stores commit.
    Speed is by processor time, to the moment when both stores would give the key to an application. Cutting a block
    into units waits for the first application and has a row of its own. The last case begins with the tags of both
    stations instead.

    \b
    Example:  qkd bench pipeline --qber 0.03 --json
    """
    from qkd.benchmarks import pipeline

    setup = pipeline.Setup(
        qber=qber,
        block_bits=block_bits,
        blocks=blocks,
        method=Method(reconciliation),
        heralding=heralding,
        seed=seed,
        folder=folder,
    )
    speed = pipeline.measure(setup)
    if as_json:
        output.emit("qkd.bench.pipeline.v1", speed.fields())
        return
    output.table(_lines(speed))


def _lines(speed: PipelineSpeed) -> list[tuple[str, str]]:
    lines = [("SHA-256, one core", f"{speed.reference_mbit_per_s:.4g} Mbit/s")]
    *cases, cut = speed.rows()
    for row in cases:
        shown = row.details
        lines.append((row.case, f"{row.value:.4g} {row.unit}, {shown['wall_mbit_per_s']:.4g} by the wall clock"))
        lines += [(f"  {stage}", f"{1e3 * seconds:.4g} ms") for stage, seconds in shown["stages"].items()]
    with_cut = cut.details["mbit_per_s"]
    lines.append((cut.case, f"{cut.value:.4g} ms; {with_cut:.4g} Mbit/s on disk if every block were cut at once"))
    return lines

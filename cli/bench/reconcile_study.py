"""`qkd bench reconcile-study`: error correction over error rates, frame lengths and presets, into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from cli import output


@click.command("reconcile-study")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the study.")
@click.option("--only", metavar="METHOD/PRESET", help="Only this preset; other rows stay as they are.")
@click.option("--quick", is_flag=True, help="One batch a point and few points: does everything work?")
@click.option("--resume", is_flag=True, help="Leave out points that the folder has already.")
@click.option("--retime", is_flag=True, help="Only take the speeds of the folder's points anew.")
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="For counting only; speeds are always taken alone.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout at the end.")
def command(out: Path, only: str | None, quick: bool, resume: bool, retime: bool, threads: int, as_json: bool) -> None:
    """f, frame errors, rounds, bytes and speed of error correction against the error rate: data, table and figure.

    Writes data.json (one row a point, as soon as it is measured), table.md and figure.svg. A point that is measured
    again replaces the old one. With everything there, --resume only draws.

    \b
    Example:  qkd bench reconcile-study --out study --quick --only cascade/fast
    """
    from cli.bench.study_report import figure, table
    from qkd.benchmarks import study

    tasks = study.plan(only=only, quick=quick)
    file = study.StudyFile(out)
    if retime:
        study.retime(file, tasks, output.say)
    else:
        study.run_study(file, tasks, threads=threads, resume=resume, say=output.say)
    rows = list(file.rows.values())
    (out / "table.md").write_text(table(rows), encoding="utf-8")
    (out / "figure.svg").write_text(figure(rows), encoding="utf-8")
    fields = {"points": len(rows), "undetected_errors": sum(row["undetected_errors"] for row in rows)}
    if as_json:
        output.emit("qkd.bench.reconcile-study.v1", fields | {"out": str(out)})
    else:
        output.table([("points", str(len(rows))), ("data, table, figure", str(out))])

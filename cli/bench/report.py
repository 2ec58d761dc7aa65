"""How a benchmark's result is printed: a table for people, one object for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import output

if TYPE_CHECKING:
    from qkd.benchmarks.result import Result


def report(stage: str, result: Result, *, as_json: bool) -> None:
    """Print a result as `qkd.bench.STAGE.v1` or as two columns."""
    if as_json:
        output.emit(f"qkd.bench.{stage}.v1", {**result.headline, "rows": [row.fields() for row in result.rows]})
        return
    lines = []
    for row in result.rows:
        text = f"{row.value:.4g} {row.unit}"
        if row.reference:
            text += f"  (reference {row.reference:.4g}{', ' + row.against if row.against else ''})"
        lines.append((row.case, text))
    output.table([*lines, *((name, f"{value:.4g}") for name, value in result.headline.items())])

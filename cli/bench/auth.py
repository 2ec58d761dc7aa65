"""`qkd bench auth`: the tags of authentication."""

from __future__ import annotations

import click

from cli import output


@click.command("auth")
@click.option("--most-bytes", default=1 << 26, show_default=True, help="The longest message.")
@click.option("--tags", default=20, show_default=True, help="Tags sent and checked with pads on disk.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(most_bytes: int, tags: int, as_json: bool) -> None:
    """Bytes a second that tags cover on one core, beside HMAC-SHA256, and the chance to forge one of each size.

    The last rows are whole tags over a block's conversation of 4 MiB, their pads burnt durably in two key stores.

    \b
    Example:  qkd bench auth --json
    """
    from qkd.benchmarks import auth

    sizes = tuple(size for size in auth.SIZES if size <= most_bytes) or (most_bytes,)
    result = auth.measure(sizes=sizes, tags=tags)
    if as_json:
        output.emit("qkd.bench.auth.v1", result.headline | {"rows": [row.fields() for row in result.rows]})
        return
    lines = [("at a block's size", f"{result.headline['gbyte_per_s']:.3g} GB/s")]
    for row in result.rows:
        told = f"{row.value:.3g} {row.unit}"
        if row.reference is not None:
            forged = row.details["forgery_probability"]
            told += f", {row.against} {row.reference:.3g} {row.unit}; forged with chance {forged:.2g}"
        lines.append((row.case, told))
    output.table(lines)
